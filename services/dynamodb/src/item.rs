//! Attribute values and items: the data that tables hold.
//!
//! Shapes: [`Value`] is one attribute's value; [`Item`] maps attribute names to values and is also what a map attribute
//! holds. Names are kept in byte order, so equal items are equal field by field. Sets keep the order in which their
//! members came and are compared without it.
//!
//! Invariants: a set is never empty and holds no member twice; numbers are normalised; nesting is at most
//! [`NESTING_MAX`] levels. They hold for every value that came through the wire (`wire.rs`) or an update.

use crate::number::Number;

/// Most bytes an item may count, names included: 400 KiB.
pub const ITEM_BYTES_MAX: usize = 400 * 1024;
/// Most levels of an item: of lists and maps inside each other, and the scalar in the innermost one.
pub const NESTING_MAX: usize = 32;

/// The value of an attribute.
#[derive(Clone, Debug)]
pub enum Value {
    /// Text.
    S(String),
    /// A number.
    N(Number),
    /// Bytes.
    B(Vec<u8>),
    /// Truth.
    Bool(bool),
    /// Nothing, but present.
    Null,
    /// Values in order.
    L(Vec<Value>),
    /// Values by name.
    M(Item),
    /// A set of texts.
    Ss(Vec<String>),
    /// A set of numbers.
    Ns(Vec<Number>),
    /// A set of byte strings.
    Bs(Vec<Vec<u8>>),
}

/// The ten types of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// Text.
    S,
    /// Number.
    N,
    /// Bytes.
    B,
    /// Truth.
    Bool,
    /// Null.
    Null,
    /// List.
    L,
    /// Map.
    M,
    /// Set of texts.
    Ss,
    /// Set of numbers.
    Ns,
    /// Set of byte strings.
    Bs,
}

impl Kind {
    /// The wire name: `S`, `BOOL`, …
    pub fn name(self) -> &'static str {
        match self {
            Kind::S => "S",
            Kind::N => "N",
            Kind::B => "B",
            Kind::Bool => "BOOL",
            Kind::Null => "NULL",
            Kind::L => "L",
            Kind::M => "M",
            Kind::Ss => "SS",
            Kind::Ns => "NS",
            Kind::Bs => "BS",
        }
    }

    /// The long name, which some messages about ADD and DELETE use.
    pub fn long_name(self) -> &'static str {
        match self {
            Kind::S => "STRING",
            Kind::N => "NUMBER",
            Kind::B => "BINARY",
            Kind::Bool => "BOOLEAN",
            Kind::Null => "NULL",
            Kind::L => "LIST",
            Kind::M => "MAP",
            Kind::Ss => "STRING_SET",
            Kind::Ns => "NUMBER_SET",
            Kind::Bs => "BINARY_SET",
        }
    }

    /// The kind of this wire name.
    pub fn of_name(name: &str) -> Option<Kind> {
        use Kind::*;
        [S, N, B, Bool, Null, L, M, Ss, Ns, Bs].into_iter().find(|k| k.name() == name)
    }

    /// Whether values of this kind can be compared with `<` and its kin and can be keys.
    pub fn is_ordered(self) -> bool {
        matches!(self, Kind::S | Kind::N | Kind::B)
    }
}

impl Value {
    /// Which type the value has.
    pub fn kind(&self) -> Kind {
        match self {
            Value::S(_) => Kind::S,
            Value::N(_) => Kind::N,
            Value::B(_) => Kind::B,
            Value::Bool(_) => Kind::Bool,
            Value::Null => Kind::Null,
            Value::L(_) => Kind::L,
            Value::M(_) => Kind::M,
            Value::Ss(_) => Kind::Ss,
            Value::Ns(_) => Kind::Ns,
            Value::Bs(_) => Kind::Bs,
        }
    }

    /// Bytes that the value counts for in an item.
    ///
    /// Source: developer guide, "Item sizes and formats": 3 bytes per list or map and 1 per element of it.
    pub fn size_bytes(&self) -> usize {
        match self {
            Value::S(s) => s.len(),
            Value::N(n) => n.size_bytes(),
            Value::B(b) => b.len(),
            Value::Bool(_) | Value::Null => 1,
            Value::L(list) => 3 + list.iter().map(|v| 1 + v.size_bytes()).sum::<usize>(),
            Value::M(map) => 3 + map.len() + map.size_bytes(),
            Value::Ss(set) => set.iter().map(String::len).sum(),
            Value::Ns(set) => set.iter().map(Number::size_bytes).sum(),
            Value::Bs(set) => set.iter().map(Vec::len).sum(),
        }
    }

    /// Levels in the value: 1 for a scalar, a set, and a list or map without members.
    pub fn nesting(&self) -> usize {
        match self {
            Value::L(list) => 1 + list.iter().map(Value::nesting).max().unwrap_or(0),
            Value::M(map) => 1 + map.nesting(),
            _ => 1,
        }
    }

    /// How two values of the same ordered kind compare; `None` for any others.
    pub fn order(&self, other: &Value) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Value::S(a), Value::S(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (Value::N(a), Value::N(b)) => Some(a.cmp(b)),
            (Value::B(a), Value::B(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::S(a), Value::S(b)) => a == b,
            (Value::N(a), Value::N(b)) => a == b,
            (Value::B(a), Value::B(b)) => a == b,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Null, Value::Null) => true,
            (Value::L(a), Value::L(b)) => a == b,
            (Value::M(a), Value::M(b)) => a == b,
            (Value::Ss(a), Value::Ss(b)) => same_members(a, b),
            (Value::Ns(a), Value::Ns(b)) => same_members(a, b),
            (Value::Bs(a), Value::Bs(b)) => same_members(a, b),
            _ => false,
        }
    }
}

/// Whether two sets without duplicates hold the same members.
fn same_members<T: Ord>(a: &[T], b: &[T]) -> bool {
    let sorted = |set: &'_ [T]| -> Vec<usize> {
        let mut order: Vec<usize> = (0..set.len()).collect();
        order.sort_unstable_by(|x, y| set[*x].cmp(&set[*y]));
        order
    };
    a.len() == b.len() && sorted(a).into_iter().zip(sorted(b)).all(|(x, y)| a[x] == b[y])
}

/// Whether a set names a member twice.
pub fn has_duplicates<T: Ord>(set: &[T]) -> bool {
    let mut order: Vec<&T> = set.iter().collect();
    order.sort_unstable();
    order.windows(2).any(|pair| pair[0] == pair[1])
}

/// Attributes by name, in byte order of the names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item(Vec<(String, Value)>);

impl Item {
    /// An item without attributes.
    pub fn new() -> Item {
        Item::default()
    }

    /// Number of attributes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no attribute.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(n, _)| n.as_str().cmp(name))
    }

    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.position(name).ok().map(|at| &self.0[at].1)
    }

    /// The value of an attribute, to be changed in place.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.position(name).ok().map(|at| &mut self.0[at].1)
    }

    /// Sets an attribute and gives the value that it had.
    pub fn insert(&mut self, name: String, value: Value) -> Option<Value> {
        // Names usually come in order (decoding, projections), so try the end first.
        if self.0.last().is_none_or(|(last, _)| *last < name) {
            self.0.push((name, value));
            return None;
        }
        match self.position(&name) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (name, value));
                None
            }
        }
    }

    /// Takes an attribute away and gives its value.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.position(name).ok().map(|at| self.0.remove(at).1)
    }

    /// All attributes in order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v))
    }

    /// Bytes that the attributes count for: names and values.
    pub fn size_bytes(&self) -> usize {
        self.0.iter().map(|(n, v)| n.len() + v.size_bytes()).sum()
    }

    /// Levels of the deepest attribute; 0 without any.
    pub fn nesting(&self) -> usize {
        self.0.iter().map(|(_, v)| v.nesting()).max().unwrap_or(0)
    }
}

impl IntoIterator for Item {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<(String, Value)> for Item {
    /// Of two attributes with one name the later stays.
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(iter: I) -> Item {
        let mut attributes: Vec<(String, Value)> = iter.into_iter().collect();
        attributes.sort_by(|a, b| a.0.cmp(&b.0));
        attributes.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        Item(attributes)
    }
}
