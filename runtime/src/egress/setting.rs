//! The setting `runtime.egress`.

use serde::Deserialize;
use serde::de::Error as _;
use squall_sandbox::{Egress, Reach};

/// What functions reach outside: `"auto"`, `"off"`, `"internet"`, or a list of networks in which `"internet"` may stand too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Setting {
    /// The internet where the host allows it.
    #[default]
    Auto,
    /// Nothing.
    Off,
    /// This; where the host cannot give it, the server does not start.
    Open(Egress),
}

impl Setting {
    /// The same for the sandbox.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match self {
            Self::Auto => Reach::IfPossible(Egress::internet()),
            Self::Off => Reach::Nothing,
            Self::Open(egress) => Reach::Required(egress.clone()),
        }
    }

    /// What is reached; `None`: nothing.
    pub(crate) fn egress(&self) -> Option<Egress> {
        match self {
            Self::Auto => Some(Egress::internet()),
            Self::Off => None,
            Self::Open(egress) => Some(egress.clone()),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Word(String),
    List(Vec<String>),
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || {
            D::Error::custom(
                "egress is \"auto\", \"off\", \"internet\" or a list such as [\"internet\", \"10.1.0.0/16\"]",
            )
        };
        let list = match Text::deserialize(deserializer).map_err(|_| wrong())? {
            Text::Word(word) => match word.as_str() {
                "auto" => return Ok(Self::Auto),
                "off" => return Ok(Self::Off),
                "internet" => vec![word],
                _ => return Err(wrong()),
            },
            Text::List(list) if list.is_empty() => return Err(wrong()),
            Text::List(list) => list,
        };
        let internet = list.iter().any(|e| e == "internet");
        let networks = list.iter().filter(|e| *e != "internet").map(|e| e.parse());
        let networks: Vec<_> = networks.collect::<Result<_, String>>().map_err(D::Error::custom)?;
        Egress::new(internet, &networks).map(Self::Open).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Setting, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn words_and_lists_are_read_and_the_rest_refused() {
        assert_eq!(read("\"auto\""), Ok(Setting::Auto));
        assert_eq!(read("\"off\""), Ok(Setting::Off));
        assert_eq!(read("\"internet\""), Ok(Setting::Open(Egress::internet())));
        let Ok(Setting::Open(list)) = read("[\"internet\", \"10.1.0.0/16\"]") else { panic!("a list") };
        assert!(list.allows([10, 1, 0, 1].into()) && list.allows([1, 1, 1, 1].into()));
        for (wrong, says) in [
            ("\"on\"", "egress is"),
            ("[]", "egress is"),
            ("true", "egress is"),
            ("[\"10.0.0.1/8\"]", "write 10.0.0.0/8"),
            ("[\"fd00::/8\"]", "IPv6"),
            ("[\"127.0.0.1\"]", "loopback"),
        ] {
            assert!(read(wrong).is_err_and(|e| e.contains(says)), "{wrong}");
        }
    }
}
