//! What things are called in the store. All names begin with `sg:`, so that a user of the store can be held to them.

use sluicegate_state::store::StoreKey;

/// The pattern of every name, as an access control list writes it.
pub const PATTERN: &str = "~sg:*";

/// `sg:{7f}:` and the 16 bytes of the hash. The braces hold the shard and nothing else, so that all keys of a shard, and no
/// others, stay together in a cluster.
pub fn item(key: &StoreKey) -> [u8; 24] {
    let mut name = [0; 24];
    name[..8].copy_from_slice(&prefix(key.shard));
    name[8..].copy_from_slice(&key.hash);
    name
}

/// Where a lane of a cluster, which is a shard, keeps its generation.
pub fn generation_of_shard(shard: u8) -> Vec<u8> {
    [&prefix(shard)[..], b"generation"].concat()
}

/// Where a lane that is a whole server keeps its generation.
pub fn generation_of_server() -> Vec<u8> {
    b"sg:generation".to_vec()
}

/// When each node was last heard of, as told in a shard.
pub fn nodes(shard: u8) -> Vec<u8> {
    [&prefix(shard)[..], b"nodes"].concat()
}

/// The fingerprint of the secret, as told in a shard.
pub fn secret(shard: u8) -> Vec<u8> {
    [&prefix(shard)[..], b"secret"].concat()
}

fn prefix(shard: u8) -> [u8; 8] {
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 0xf)];
    [b's', b'g', b':', b'{', digit(shard >> 4), digit(shard), b'}', b':']
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_braces_hold_the_shard_whatever_the_hash_is() {
        for hash in [[b'}'; 16], [b'{'; 16], [0; 16], *b"}{slot}\r\nFLUSHAL"] {
            let name = item(&StoreKey { shard: 0x7f, hash });
            assert_eq!(&name[..8], b"sg:{7f}:");
            let first = name.iter().position(|byte| *byte == b'{');
            let end = name.iter().position(|byte| *byte == b'}');
            assert_eq!((first, end), (Some(3), Some(6)));
        }
        assert_eq!(generation_of_shard(0), b"sg:{00}:generation");
    }
}
