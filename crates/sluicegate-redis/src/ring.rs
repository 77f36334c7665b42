//! Which of several servers that know nothing of each other holds a shard.

use sluicegate_state::store::SHARDS;

use crate::chance::{hash, mix};

/// For each shard the number of its server, by rendezvous hashing: of all servers, the one whose name and the shard hash
/// highest together. So a server that goes takes only its own shards along, and one that comes takes only what becomes its
/// own. The order of the names does not matter; their spelling does.
pub(crate) fn lanes(names: &[String]) -> [u16; SHARDS] {
    let servers: Vec<u64> = names.iter().map(|name| hash(name.as_bytes())).collect();
    std::array::from_fn(|shard| {
        let shard = mix(shard as u64 + 1);
        let best = (0_u16..)
            .zip(&servers)
            .max_by_key(|(_, server)| mix(**server ^ shard))
            .map(|(number, _)| number);
        best.unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(numbers: &[u32]) -> Vec<String> {
        numbers.iter().map(|number| format!("10.0.0.{number}:6379")).collect()
    }

    fn holders(numbers: &[u32]) -> Vec<u32> {
        lanes(&names(numbers))
            .iter()
            .map(|&lane| numbers[usize::from(lane)])
            .collect()
    }

    #[test]
    fn losing_or_adding_a_server_moves_only_its_share() {
        let three = holders(&[1, 2, 3]);
        let two = holders(&[1, 3]);
        for (before, after) in three.iter().zip(&two) {
            assert!(before == after || *before == 2, "{before} gave a shard to {after}");
        }
        let four = holders(&[1, 2, 3, 4]);
        for (before, after) in three.iter().zip(&four) {
            assert!(before == after || *after == 4, "{before} gave a shard to {after}");
        }
        let moved = four.iter().filter(|&&server| server == 4).count();
        assert!((32..=96).contains(&moved), "a fourth of 256 and not {moved}");
    }

    #[test]
    fn the_order_of_the_servers_does_not_matter_and_each_has_its_part() {
        assert_eq!(holders(&[1, 2, 3, 4, 5]), holders(&[5, 3, 1, 2, 4]));
        for server in 1..=5 {
            let part = holders(&[1, 2, 3, 4, 5]).iter().filter(|&&one| one == server).count();
            assert!((26..=77).contains(&part), "server {server} has {part} of 256");
        }
        assert_eq!(lanes(&names(&[9])), [0; SHARDS]);
    }

    /// Nodes of different versions have to agree.
    #[test]
    fn the_ring_is_the_same_in_every_version() {
        let digest = lanes(&names(&[1, 2, 3]))
            .iter()
            .fold(0_u64, |digest, &lane| mix(digest ^ u64::from(lane)));
        assert_eq!(digest, 15_876_749_115_620_118_836);
    }
}
