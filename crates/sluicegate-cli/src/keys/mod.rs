//! `sluicegate keys`: the keys that callers are known by, in a file of their hashes.

mod file;
mod text;

use anyhow::Context;
use serde::Serialize;
use sluicegate::policy::{Faults, IssuedKey};
use sluicegate::{FreshKey, KeyDigest};

use crate::arguments::{AddKey, Keys, KeysCommand, ListKeys, RevokeKey};
use crate::columns::{Side, align};
use crate::excerpt::{Excerpt, Shown};
use crate::exit::Exit;
use crate::output;
use file::KeyFileAlone;

/// Adds, revokes or lists keys.
///
/// # Errors
///
/// When the file cannot be read or written, has no such key, or is written in a way that cannot be changed here.
pub(crate) fn keys(arguments: &Keys) -> anyhow::Result<Exit> {
    match &arguments.command {
        KeysCommand::Add(add) => self::add(add),
        KeysCommand::Revoke(revoke) => self::revoke(revoke),
        KeysCommand::List(list) => self::list(list),
    }
}

/// What `add` answers with: the one time that the key is shown.
#[derive(Serialize)]
struct Added<'a> {
    id: &'a str,
    key: &'a str,
}

fn add(arguments: &AddKey) -> anyhow::Result<Exit> {
    let file = KeyFileAlone::open(&arguments.file.file)?;
    let before = match text::read(file.path(), file.text()) {
        Ok(before) => before,
        Err(faults) => return Ok(faulty(&faults)),
    };
    let mut random = [0; FreshKey::BYTES];
    getrandom::fill(&mut random).context("the system's random source gives nothing")?;
    let key = FreshKey::from_random(random);
    let number = getrandom::u32().context("the system's random source gives nothing")?;
    let id = arguments.id.clone().unwrap_or_else(|| format!("key-{number:08x}"));
    let entry = text::Entry {
        id: &id,
        hash: key.digest(),
        tenant: arguments.tenant.as_deref(),
        tier: arguments.tier.as_deref(),
        not_after: arguments.not_after.as_deref(),
        description: arguments.description.as_deref(),
    };
    let changed = match text::with(file.path(), file.text(), &before, &entry) {
        Ok(changed) => changed,
        Err(text::NotAdded::Faulty(faults)) => return Ok(faulty(&faults)),
        Err(text::NotAdded::Unwritable) => anyhow::bail!(
            "{} is not written in the way that this command writes it: put the keys into lines that begin with `  - id:`, as its last field",
            file.path().display()
        ),
    };
    // The key is shown when it counts, and not before.
    file.replace(&changed)?;
    if arguments.json {
        output::print_json(&Added {
            id: &id,
            key: key.expose(),
        })?;
    } else {
        output::tell(&format_args!(
            "{id} is issued; this is the only time that its key is shown:"
        ));
        output::print(&format!("{}\n", key.expose()))?;
    }
    Ok(Exit::Success)
}

fn revoke(arguments: &RevokeKey) -> anyhow::Result<Exit> {
    let file = KeyFileAlone::open(&arguments.file.file)?;
    let before = match text::read(file.path(), file.text()) {
        Ok(before) => before,
        Err(faults) => return Ok(faulty(&faults)),
    };
    if !before.iter().any(|key| key.id == arguments.id) {
        anyhow::bail!("{} has no key {:?}", file.path().display(), arguments.id);
    }
    let Some(changed) = text::without(file.path(), file.text(), &before, &arguments.id) else {
        anyhow::bail!(
            "{} is not written in the way that this command writes it: remove the entry of {:?} by hand",
            file.path().display(),
            arguments.id
        );
    };
    file.replace(&changed)?;
    if arguments.json {
        output::print_json(&serde_json::json!({ "revoked": arguments.id }))?;
    } else {
        output::tell(&format_args!(
            "{} is revoked; a running node knows it a moment later",
            arguments.id
        ));
    }
    Ok(Exit::Success)
}

/// A key as it is listed: nothing that it could be made from.
#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    tenant: Option<&'a str>,
    tier: Option<&'a str>,
    not_after: Option<String>,
    description: Option<&'a str>,
}

fn list(arguments: &ListKeys) -> anyhow::Result<Exit> {
    let path = &arguments.file.file;
    let held = file::read(path)?;
    let keys = match text::read(path, &held) {
        Ok(keys) => keys,
        Err(faults) => return Ok(faulty(&faults)),
    };
    let end = |key: &IssuedKey| key.not_after.map(text::moment);
    if arguments.json {
        let listed: Vec<_> = keys
            .iter()
            .map(|key| Listed {
                id: &key.id,
                tenant: key.tenant.as_deref(),
                tier: key.tier.as_deref(),
                not_after: end(key),
                description: key.description.as_deref(),
            })
            .collect();
        output::print_json(&listed)?;
        return Ok(Exit::Success);
    }
    let mut rows = vec![["id", "tenant", "tier", "not after", "description"].map(str::to_owned)];
    rows.extend(keys.iter().map(|key| {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        [
            key.id.clone(),
            text(&key.tenant),
            text(&key.tier),
            end(key).unwrap_or_else(|| "-".to_owned()),
            Shown(&text(&key.description)).to_string(),
        ]
    }));
    let lines = align([Side::Left; 5], &rows);
    output::print(&format!("{}\n", lines.join("\n")))?;
    Ok(Exit::Success)
}

fn faulty(faults: &Faults) -> Exit {
    for fault in faults {
        output::tell(&Excerpt::from(fault));
    }
    if faults.omitted() > 0 {
        output::tell(&format_args!("and {} more faults", faults.omitted()));
    }
    Exit::Faulty
}

/// Of what an entry is made.
type Hash = KeyDigest;
