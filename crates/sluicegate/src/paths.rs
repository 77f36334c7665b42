//! Which path pattern a path meets, found without allocating.

use memchr::memchr;

use crate::route::RouteId;

/// Path patterns by their segments: literal ones, `{name}` for one segment, a last `{*name}` for the rest, which may be empty, and
/// the slash before it gone too.
///
/// The most particular pattern wins, segment by segment from the left: a literal before `{name}`, both before `{*name}`. A
/// segment that leads to no pattern is taken back and the next less particular one is tried. Every node is seen at most once for a
/// path, since its depth says how much of the path lies behind it.
#[derive(Debug, Clone)]
pub(crate) struct PathTree {
    /// The first is the one that every path begins in.
    nodes: Vec<Node>,
}

/// Where paths with one beginning part.
#[derive(Debug, Clone, Default)]
struct Node {
    /// Sorted by the segment.
    literals: Vec<(Box<str>, usize)>,
    /// Behind any segment that is not empty.
    any: Option<usize>,
    /// The pattern that ends here.
    ends: Option<RouteId>,
    /// The pattern that takes all that is left, also nothing.
    rest: Option<RouteId>,
}

impl PathTree {
    /// A tree without patterns.
    pub(crate) fn new() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }

    /// Adds a pattern that begins with a slash, unless one of the same shape is there already.
    pub(crate) fn insert(&mut self, pattern: &str, route: RouteId) {
        let mut at = 0;
        for segment in pattern.strip_prefix('/').unwrap_or(pattern).split('/') {
            let fresh = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match segment.as_bytes() {
                [b'{', b'*', ..] => {
                    node.rest.get_or_insert(route);
                    return;
                }
                [b'{', ..] => *node.any.get_or_insert(fresh),
                _ => match node.place(segment) {
                    Ok(place) => node.literals[place].1,
                    Err(place) => {
                        node.literals.insert(place, (segment.into(), fresh));
                        fresh
                    }
                },
            };
            if at == fresh {
                self.nodes.push(Node::default());
            }
        }
        self.nodes[at].ends.get_or_insert(route);
    }

    /// The route whose pattern a path meets.
    pub(crate) fn find(&self, path: &str) -> Option<RouteId> {
        self.find_from(0, path.strip_prefix('/')?)
    }

    /// Calls itself as often as the tree is deep, which is as deep as the longest pattern has segments.
    fn find_from(&self, at: usize, path: &str) -> Option<RouteId> {
        let node = self.nodes.get(at)?;
        // As `split_once` does, which takes thrice as long over segments as short as these.
        let (segment, left) = match memchr(b'/', path.as_bytes()) {
            Some(at) => (&path[..at], Some(&path[at + 1..])),
            None => (path, None),
        };
        let behind = |next: usize| match left {
            Some(left) => self.find_from(next, left),
            // A folder's own path, whose slash at the end was stripped.
            None => self
                .nodes
                .get(next)
                .and_then(|node| node.ends.or(node.rest.filter(|_| !segment.is_empty()))),
        };
        let literal = node
            .place(segment)
            .ok()
            .and_then(|place| behind(node.literals[place].1));
        let any = || node.any.filter(|_| !segment.is_empty()).and_then(behind);
        literal.or_else(any).or(node.rest)
    }
}

impl Node {
    /// Where a literal segment stands, or would.
    fn place(&self, segment: &str) -> Result<usize, usize> {
        self.literals.binary_search_by(|(literal, _)| (**literal).cmp(segment))
    }
}

#[cfg(test)]
mod tests {
    use matchit::Router;
    use proptest::prelude::*;

    use super::*;

    fn pattern() -> impl Strategy<Value = String> {
        let segment = prop_oneof![4 => "[ab]{0,2}", 2 => Just("{one}".to_owned())];
        (prop::collection::vec(segment, 0..4), any::<bool>()).prop_map(|(mut segments, rest)| {
            if rest || segments.is_empty() {
                segments.push("{*rest}".to_owned());
            }
            format!("/{}", segments.join("/"))
        })
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_matchit_finds(
            patterns in prop::collection::vec(pattern(), 0..12),
            paths in prop::collection::vec("/?[ab/]{0,9}", 0..40),
        ) {
            let mut tree = PathTree::new();
            let mut router = Router::new();
            let mut rests = Vec::new();
            for (pattern, index) in patterns.iter().zip(0..) {
                let route = RouteId::new(index);
                if router.insert(pattern.as_str(), route).is_ok() {
                    tree.insert(pattern, route);
                    rests.extend(pattern.strip_suffix("{*rest}").map(|folder| (folder, route)));
                    let folder = pattern.strip_suffix("/{*rest}").filter(|folder| !folder.is_empty() && !folder.ends_with('/'));
                    rests.extend(folder.map(|folder| (folder, route)));
                }
            }
            // There `{*rest}` takes in no empty rest, and no path without the slash before it.
            for (folder, route) in rests {
                let _ = router.insert(folder, route);
            }
            for path in paths {
                prop_assert_eq!(tree.find(&path), router.at(&path).ok().map(|found| *found.value), "{}", path);
            }
        }
    }
}
