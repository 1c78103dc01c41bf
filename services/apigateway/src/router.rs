//! The routing table of a deployment: a tree of path segments, compiled once per deployment.
//!
//! HTTP APIs: a full match beats a greedy one, fixed text beats a parameter, the method itself beats `ANY`, and `$default`
//! takes what is left. REST APIs: the same order. A path whose resource lacks the method goes on to the next match, such
//! as a greedy one above it.

use std::collections::HashMap;

/// Most segments of a request's path; beyond it nothing matches.
const SEGMENTS_MAX: usize = 256;
/// Most steps of one search, so that hostile paths on tables with many parameters stay cheap.
const STEPS_MAX: usize = 10_000;

/// A segment of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// Fixed text.
    Fixed(&'a str),
    /// `{name}`.
    Param(&'a str),
    /// `{name+}`: the rest of the path, at least one segment.
    Greedy(&'a str),
}

impl<'a> Segment<'a> {
    /// Reads one segment.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            Some(name) => name.strip_suffix('+').map_or(Self::Param(name), Self::Greedy),
            None => Self::Fixed(text),
        }
    }
}

#[derive(Clone, Debug)]
struct End {
    index: usize,
    params: Vec<Box<str>>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    fixed: HashMap<Box<str>, Node>,
    param: Option<Box<Node>>,
    ends: Vec<(Box<str>, End)>,
    greedy: Vec<(Box<str>, End)>,
}

/// What a request matched.
#[derive(Debug)]
pub struct Found<'a, T> {
    /// The target.
    pub target: &'a T,
    /// Path parameters in the order of the template, as sent.
    pub params: Vec<(&'a str, String)>,
}

/// A routing table.
#[derive(Clone, Debug)]
pub struct Router<T> {
    root: Node,
    targets: Vec<T>,
    fallback: Option<usize>,
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self { root: Node::default(), targets: Vec::new(), fallback: None }
    }
}

impl<T> Router<T> {
    /// Adds a target for a method (or `ANY`) and a path template such as `/users/{id}`.
    pub fn add(&mut self, method: &str, template: &str, target: T) {
        let index = self.targets.len();
        self.targets.push(target);
        let mut node = &mut self.root;
        let mut params: Vec<Box<str>> = Vec::new();
        for text in segments(template) {
            match Segment::parse(text) {
                Segment::Fixed(text) => node = node.fixed.entry(text.into()).or_default(),
                Segment::Param(name) => {
                    params.push(name.into());
                    node = node.param.get_or_insert_default();
                }
                Segment::Greedy(name) => {
                    params.push(name.into());
                    node.greedy.push((method.into(), End { index, params }));
                    return;
                }
            }
        }
        node.ends.push((method.into(), End { index, params }));
    }

    /// Sets the target of `$default`.
    pub fn set_fallback(&mut self, target: T) {
        self.fallback = Some(self.targets.len());
        self.targets.push(target);
    }

    /// The target of a request. `path` is percent-encoded and begins with `/`.
    #[must_use]
    pub fn find<'a>(&'a self, method: &str, path: &str) -> Option<Found<'a, T>> {
        let parts: Vec<&str> = segments(path).collect();
        let full = || {
            if parts.len() > SEGMENTS_MAX {
                return None;
            }
            let mut steps = 0;
            for greedy in [false, true] {
                let mut values = Vec::new();
                let search = &mut Search { method, parts: &parts, greedy, steps: &mut steps };
                if let Some(end) = search.walk(&self.root, 0, &mut values) {
                    return Some((end.index, &end.params, values));
                }
            }
            None
        };
        if let Some((index, names, values)) = full() {
            let params = names.iter().map(|n| n.as_ref()).zip(values).collect();
            return self.targets.get(index).map(|target| Found { target, params });
        }
        let target = self.targets.get(self.fallback?)?;
        Some(Found { target, params: Vec::new() })
    }
}

/// Segments of a path; `/` has none, and a trailing slash makes an empty one.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split('/').skip(usize::from(path.is_empty()))
}

struct Search<'r> {
    method: &'r str,
    parts: &'r [&'r str],
    greedy: bool,
    steps: &'r mut usize,
}

impl Search<'_> {
    fn pick<'n>(&self, ends: &'n [(Box<str>, End)]) -> Option<&'n End> {
        let of = |wanted: &str| ends.iter().find(|(m, _)| m.as_ref() == wanted).map(|(_, e)| e);
        of(self.method).or_else(|| of("ANY"))
    }

    fn walk<'n>(&mut self, node: &'n Node, at: usize, values: &mut Vec<String>) -> Option<&'n End> {
        *self.steps += 1;
        if *self.steps > STEPS_MAX {
            return None;
        }
        let Some(part) = self.parts.get(at) else {
            return if self.greedy { None } else { self.pick(&node.ends) };
        };
        if let Some(end) = node.fixed.get(*part).and_then(|next| self.walk(next, at + 1, values)) {
            return Some(end);
        }
        if let (Some(next), false) = (&node.param, part.is_empty()) {
            values.push((*part).to_owned());
            if let Some(end) = self.walk(next, at + 1, values) {
                return Some(end);
            }
            values.pop();
        }
        if !self.greedy {
            return None;
        }
        let end = self.pick(&node.greedy)?;
        let rest = self.parts.get(at..)?.join("/");
        if rest.is_empty() {
            return None;
        }
        values.push(rest);
        Some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(keys: &[&str]) -> Router<String> {
        let mut router = Router::default();
        for key in keys {
            match key.split_once(' ') {
                Some((method, path)) => router.add(method, path, (*key).to_owned()),
                None => router.set_fallback((*key).to_owned()),
            }
        }
        router
    }

    #[test]
    fn the_most_specific_route_wins() {
        let documented =
            table(&["GET /pets/dog/1", "GET /pets/dog/{id}", "GET /pets/{proxy+}", "ANY /{proxy+}", "$default"]);
        let methods = table(&["ANY /a", "GET /a", "GET /{x}", "POST /{x}/b", "ANY /a/{rest+}", "GET /{x}/{y}"]);
        let slashes = table(&["GET /", "GET /a", "GET /b/"]);
        let cases: [(&Router<String>, &str, &str, Option<&str>); 21] = [
            (&documented, "GET", "/pets/dog/1", Some("GET /pets/dog/1")),
            (&documented, "GET", "/pets/dog/2", Some("GET /pets/dog/{id}")),
            (&documented, "GET", "/pets/cat/1", Some("GET /pets/{proxy+}")),
            (&documented, "POST", "/pets/dog/1", Some("ANY /{proxy+}")),
            (&documented, "POST", "/test/5", Some("ANY /{proxy+}")),
            (&documented, "GET", "/", Some("$default")),
            (&methods, "GET", "/a", Some("GET /a")),
            (&methods, "PUT", "/a", Some("ANY /a")),
            (&methods, "GET", "/z", Some("GET /{x}")),
            (&methods, "PUT", "/z", None),
            (&methods, "POST", "/a/b", Some("POST /{x}/b")),
            (&methods, "PUT", "/a/b", Some("ANY /a/{rest+}")),
            (&methods, "GET", "/a/c", Some("GET /{x}/{y}")),
            (&methods, "GET", "/a/c/d", Some("ANY /a/{rest+}")),
            (&methods, "GET", "/a/", None),
            (&slashes, "GET", "/", Some("GET /")),
            (&slashes, "GET", "/a", Some("GET /a")),
            (&slashes, "GET", "/a/", None),
            (&slashes, "GET", "/b", None),
            (&slashes, "GET", "/b/", Some("GET /b/")),
            (&slashes, "GET", "//", None),
        ];
        for (router, method, path, expected) in cases {
            let found = router.find(method, path).map(|f| f.target.as_str());
            assert_eq!(found, expected, "{method} {path}");
        }
    }

    #[test]
    fn parameters_carry_the_names_of_their_own_route() {
        let router = table(&["GET /u/{id}", "POST /u/{user}/posts/{post}", "ANY /f/{kind}/{rest+}"]);
        let params = |method, path| {
            let found = router.find(method, path).expect("a route");
            found.params.into_iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(params("GET", "/u/a%20b"), "id=a%20b");
        assert_eq!(params("POST", "/u/1/posts/2"), "user=1 post=2");
        assert_eq!(params("PUT", "/f/x/y//z"), "kind=x rest=y//z");
    }

    #[test]
    fn hostile_paths_stay_cheap() {
        let mut router = Router::default();
        for depth in 0..40 {
            let path: String = (0..depth).map(|i| if (depth + i) % 2 == 0 { "/{x}" } else { "/a" }).collect();
            router.add("POST", &format!("{path}/end"), ());
        }
        assert!(router.find("GET", &"/a".repeat(200)).is_none());
        assert!(router.find("GET", &"/".repeat(100_000)).is_none());
    }
}
