//! The order to stop, as a value: whoever hears the signal holds the [`Trigger`], every worker a [`Shutdown`].

use tokio::sync::watch;

/// Makes a trigger and the shutdown it sets off.
pub fn shutdown() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (
        Trigger(sender),
        Shutdown {
            order: receiver,
            other: None,
        },
    )
}

/// Sets off its [`Shutdown`]. Dropping it does the same: a gateway that nobody can stop any more stops.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

impl Trigger {
    /// Orders the drain. A second call changes nothing.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }
}

/// An order to stop that may still come. Clones hear the same order.
#[derive(Debug, Clone)]
pub struct Shutdown {
    order: watch::Receiver<bool>,
    other: Option<watch::Receiver<bool>>,
}

impl Shutdown {
    /// Returns once the order has come.
    pub async fn ordered(&mut self) {
        match &mut self.other {
            None => heard(&mut self.order).await,
            Some(other) => tokio::select! {
                () = heard(&mut self.order) => {}
                () = heard(other) => {}
            },
        }
    }

    /// Hears either order.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            order: self.order,
            other: Some(other.order),
        }
    }
}

async fn heard(order: &mut watch::Receiver<bool>) {
    // An error means that the trigger is gone, which is an order too.
    let _ = order.wait_for(|ordered| *ordered).await;
}
