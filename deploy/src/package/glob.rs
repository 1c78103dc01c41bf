//! Globs as the framework's patterns have them: `*`, `**`, `?`, `[a-z]`, `{a,b}`; `!` in front excludes.

use regex::Regex;

/// One pattern.
#[derive(Debug)]
pub(super) struct Glob {
    /// It takes files out instead of in.
    pub is_exclude: bool,
    regex: Regex,
}

impl Glob {
    /// Reads one pattern; paths are relative to the service's folder.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let (is_exclude, rest) = match pattern.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        if pattern.starts_with("!(") {
            return Err(format!("`{pattern}`: groups such as !(…) are not supported"));
        }
        let rest = rest.strip_prefix("./").unwrap_or(rest).trim_start_matches('/');
        if rest.starts_with("../") {
            return Err(format!("the pattern `{pattern}` leaves the service's folder"));
        }
        let regex = Regex::new(&translate(rest)?).map_err(|_| format!("`{pattern}` is no pattern"))?;
        Ok(Self { is_exclude, regex })
    }

    /// Whether the pattern covers this file.
    pub(super) fn is_match(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }
}

fn translate(glob: &str) -> Result<String, String> {
    let mut out = "^".to_owned();
    let chars: Vec<char> = glob.chars().collect();
    let (mut i, mut braces) = (0, 0usize);
    let next = |i: usize| chars.get(i).copied();
    while let Some(c) = next(i) {
        i += 1;
        match c {
            '!' | '+' | '@' | '?' | '*' if next(i) == Some('(') => {
                return Err(format!("`{glob}`: groups such as {c}(…) are not supported"));
            }
            '*' if next(i) == Some('*') => {
                i += 1;
                if next(i) == Some('/') {
                    i += 1;
                    out.push_str("(?:.*/)?");
                } else {
                    out.push_str(".*");
                }
            }
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '[' => {
                let close = chars.iter().skip(i).position(|c| *c == ']').ok_or(format!("`{glob}`: [ without ]"))? + i;
                let inner: String = chars[i..close].iter().collect();
                let inner = inner.replace('\\', "\\\\").replace('[', "\\[");
                match inner.strip_prefix(['!', '^']) {
                    Some(rest) => out.push_str(&format!("[^{rest}]")),
                    None => out.push_str(&format!("[{inner}]")),
                }
                i = close + 1;
            }
            '{' => {
                braces += 1;
                out.push_str("(?:");
            }
            '}' if braces > 0 => {
                braces -= 1;
                out.push(')');
            }
            ',' if braces > 0 => out.push('|'),
            '\\' => {
                out.push_str(&regex::escape(&next(i).unwrap_or('\\').to_string()));
                i += 1;
            }
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    if braces > 0 {
        return Err(format!("`{glob}`: {{ without }}"));
    }
    out.push('$');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_they_say() {
        let cases = [
            ("**", "a/b/c.js", true),
            ("*.js", "a.js", true),
            ("*.js", "a/b.js", false),
            ("**/*.js", "b.js", true),
            ("**/*.js", "a/b/c.js", true),
            ("src/**", "src/a/b", true),
            ("src/**", "srcx/a", false),
            ("./src/*", "src/a", true),
            ("!src/?.{js,ts}", "src/a.ts", true),
            ("[ab]x", "bx", true),
            ("[!ab]x", "bx", false),
            ("a.b", "axb", false),
            ("node_modules/**", "node_modules/.bin/x", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(Glob::new(pattern).expect("valid").is_match(name), expected, "{pattern} {name}");
        }
        assert!(Glob::new("../x").is_err() && Glob::new("!(a)").is_err() && Glob::new("{a").is_err());
        assert!(Glob::new("!x").is_ok_and(|g| g.is_exclude));
    }
}
