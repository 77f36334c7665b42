//! Rust sources as text: found, read, and cleared of what is only said in comments and tests.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// One source file.
#[derive(Debug)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// Its text in full.
    pub text: String,
}

impl Source {
    /// Reads one file.
    ///
    /// # Errors
    ///
    /// What the file system answers.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            text: fs::read_to_string(path)?,
        })
    }

    /// Every `.rs` file under `folder`, in the order of their paths. A folder that is not there has none.
    ///
    /// # Errors
    ///
    /// What the file system answers.
    pub fn under(folder: &Path) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    found.push(Self::read(&path)?);
                }
            }
        }
        found.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(found)
    }

    /// The lines that are built into the crate, with their numbers from 1: not comments, and not the tests at the foot.
    ///
    /// The tests are taken to start at a `#[cfg(test)]` (or `#[cfg(all(test, …))]`) whose next line opens a module with
    /// a body, and to reach to the end of the file, which is how all files here are written. A file `tests.rs` is all tests.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_tests = self.path.file_name().is_some_and(|name| name == "tests.rs");
        let lines: Vec<_> = self.text.lines().take(if is_tests { 0 } else { usize::MAX }).collect();
        let foot = (0..lines.len())
            .find(|&at| starts_tests(&lines[at..]))
            .unwrap_or(lines.len());
        lines
            .into_iter()
            .take(foot)
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(index, line)| (index + 1, line))
    }

    /// Whether it carries this inner attribute, spelled without `#![…]`.
    pub fn has_inner_attribute(&self, attribute: &str) -> bool {
        self.text.lines().any(|line| {
            line.trim()
                .strip_prefix("#![")
                .and_then(|rest| rest.strip_suffix(']'))
                .is_some_and(|found| found == attribute)
        })
    }
}

fn starts_tests(lines: &[&str]) -> bool {
    let Some((first, rest)) = lines.split_first() else {
        return false;
    };
    let is_gate = first.starts_with("#[cfg(") && first.contains("test") && !first.contains("not(");
    is_gate
        && rest
            .iter()
            .find(|line| !line.starts_with("#["))
            .is_some_and(|line| line.contains("mod ") && line.ends_with('{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, code: &[&str]) {
        let source = Source {
            path: PathBuf::new(),
            text: text.to_owned(),
        };
        assert_eq!(source.code().map(|(_, line)| line).collect::<Vec<_>>(), code);
    }

    #[test]
    fn comments_are_not_code() {
        check(
            "//! a\nuse b;\n    // c\nfn d() {} // e\n",
            &["use b;", "fn d() {} // e"],
        );
    }

    #[test]
    fn tests_at_the_foot_are_not_code() {
        check(
            "fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    b();\n}\n",
            &["fn a() {}"],
        );
        check(
            "fn a() {}\n#[cfg(all(test, not_loom))]\nmod tests {\n}\n",
            &["fn a() {}"],
        );
    }

    #[test]
    fn what_is_left_out_of_tests_only_is_code() {
        check("#[cfg(not(test))]\nmod a {\n}", &["#[cfg(not(test))]", "mod a {", "}"]);
        check(
            "#[cfg(test)]\nextern crate std;\nfn a() {}",
            &["#[cfg(test)]", "extern crate std;", "fn a() {}"],
        );
    }

    #[test]
    fn an_inner_attribute_counts_only_when_it_is_spelled_out() {
        let source = Source {
            path: PathBuf::new(),
            text: "// #![no_std]\n#![forbid(unsafe_code)]\n".to_owned(),
        };
        assert!(source.has_inner_attribute("forbid(unsafe_code)"));
        assert!(!source.has_inner_attribute("no_std"));
    }
}
