//! Tests of the reader of statements.

use super::*;
use crate::expr::eval;

fn value(text: &str) -> Value {
    Value::S(text.into())
}

fn check(text: &str, parameters: &[&str], expected: &str) {
    let parameters = parameters.iter().map(|p| value(p)).collect();
    let got = parse(text, parameters).err().map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(got, expected, "{text}");
}

#[test]
fn statements_that_are_none_are_told_so() {
    let malformed = |why: &str| format!("Statement wasn't well formed, can't be processed: {why}");
    check("CREATE TABLE t", &[], &malformed("Expected data manipulation"));
    check("", &[], &malformed("Expected data manipulation"));
    check("SELECT * FROM", &[], &malformed("Unexpected end of statement"));
    check("SELECT * FORM t", &[], &malformed("Unexpected term"));
    check("SELECT FROM t", &[], &malformed("Unexpected keyword"));
    check("SELECT * FROM t WHERE", &[], &malformed("Unexpected end of statement"));
    check("SELECT * FROM t WHERE a", &[], &malformed("Expected a condition"));
    check("SELECT * FROM t WHERE a = 'x", &[], &malformed("Unexpected end of statement"));
    check("SELECT * FROM t WHERE a = §", &[], &malformed("Invalid character"));
    check("INSERT INTO t VALUES {'a': 1}", &[], &malformed("Unexpected keyword"));
    check("SELECT * FROM t LIMIT 5", &[], "Unsupported clause: LIMIT");
    check("SELECT COUNT(*) FROM t", &[], "Unsupported function: COUNT");
    check(
        "UPDATE t SET a = 1, a.b = 2 WHERE p = 1",
        &[],
        "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a, b]",
    );
    let deep = format!("SELECT * FROM t WHERE {}a = 1{}", "(".repeat(3000), ")".repeat(3000));
    check(&deep, &[], &malformed("Nesting is too deep"));
    let deep = format!("INSERT INTO t VALUE {{'a': {}", "[".repeat(3000));
    check(&deep, &[], &malformed("Nesting is too deep"));
}

#[test]
fn parameters_are_counted() {
    let wrong = "Number of parameters in request and statement don't match.";
    check("SELECT * FROM t WHERE a = ?", &[], wrong);
    check("SELECT * FROM t WHERE a = ?", &["x", "y"], wrong);
    check("SELECT * FROM t WHERE a = '?'", &["x"], wrong);
    check("SELECT * FROM t WHERE a = ?", &["x"], "");
}

#[test]
fn literals_are_read() {
    let text = r#"INSERT INTO "my.table" VALUE {'s': 'it''s', 'n': -1.50e2, 'b': true, 'z': NULL, 'l': [1, 'a', ?],
        'm': {'k': {"q": 2}}, 'ss': <<'a', 'b'>>, 'ns': <<1, 2.0>>} -- done"#;
    let Ok(Statement::Insert(insert)) = parse(text, vec![Value::B(vec![7])]) else { panic!("an INSERT") };
    assert_eq!(insert.table, "my.table");
    let n = |text: &str| Value::N(crate::number::Number::parse(text).expect("a number"));
    let inner: Item = [("q".to_owned(), n("2"))].into_iter().collect();
    let expected: Item = [
        ("s", value("it's")),
        ("n", n("-150")),
        ("b", Value::Bool(true)),
        ("z", Value::Null),
        ("l", Value::L(vec![n("1"), value("a"), Value::B(vec![7])])),
        ("m", Value::M([("k".to_owned(), Value::M(inner))].into_iter().collect())),
        ("ss", Value::Ss(vec!["a".into(), "b".into()])),
        ("ns", Value::Ns(vec![1.into(), 2.into()])),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v))
    .collect();
    assert_eq!(insert.item, expected);
}

#[test]
fn conditions_mean_what_they_say() {
    let item: Item = [
        ("a", Value::N(5.into())),
        ("t", value("hello")),
        ("z", Value::Null),
        ("m", Value::M([("l".to_owned(), Value::L(vec![value("x"), Value::N(2.into())]))].into_iter().collect())),
        ("s", Value::Ss(vec!["p".into(), "q".into()])),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v))
    .collect();
    for (text, expected) in [
        ("a = 5", true),
        ("5 = a AND t = 'hello'", true),
        ("a <> 5 OR a != 6", true),
        ("NOT a < 5", true),
        ("a BETWEEN 1 AND 5", true),
        ("a NOT BETWEEN 1 AND 5", false),
        ("a IN [1, 5]", true),
        ("a IN (1, 2)", false),
        ("a NOT IN (1, 2)", true),
        ("(a >= 5 AND (t > 'a')) OR a = 1", true),
        ("x IS MISSING", true),
        ("a IS NOT MISSING", true),
        ("z IS NULL", true),
        ("a IS NULL", false),
        ("begins_with(t, 'he')", true),
        ("contains(s, 'q') AND contains(\"t\", 'ell')", true),
        ("attribute_type(t, 'S')", true),
        ("size(t) = 5 AND size(m.l) = 2", true),
        ("m.l[1] = 2 AND m['l'][0] = 'x'", true),
        ("m.l[7] = 2", false),
    ] {
        let statement = parse(&format!("SELECT * FROM t WHERE {text}"), Vec::new());
        let statement = statement.unwrap_or_else(|e| panic!("{text}: {e}"));
        let condition = statement.condition().expect("a condition");
        assert_eq!(eval::holds(condition, &item), expected, "{text}");
    }
}

#[test]
fn keys_are_found_in_conditions() {
    use crate::item::Kind;
    use crate::key::{KeyAttribute, KeySchema};
    use plan::{Reach, reach, single};
    let attribute = |name: &str, kind| KeyAttribute { name: name.into(), kind };
    let schema = KeySchema { hash: attribute("p", Kind::S), range: Some(attribute("r", Kind::N)) };
    for (text, keys, ranged) in [
        ("p = 'a'", Some(1), false),
        ("p = 'a' AND r > 5", Some(1), true),
        ("r BETWEEN 1 AND 2 AND (x = 1 AND 'a' = p)", Some(1), true),
        ("p IN ['a', 'b', 'a']", Some(2), false),
        ("p = 'a' OR p = 'b' AND x = 1", Some(2), false),
        ("p = 'a' OR x = 1", None, false),
        ("p > 'a'", None, false),
        ("NOT p = 'a'", None, false),
    ] {
        let statement = parse(&format!("SELECT * FROM t WHERE {text}"), Vec::new()).expect("a statement");
        let found = match reach(statement.condition(), &schema) {
            Ok(Reach::Keys(keys)) => Some((keys.len(), keys.iter().all(|k| k.range.is_some()))),
            Ok(Reach::All) => None,
            Err(e) => panic!("{text}: {e}"),
        };
        assert_eq!(found, keys.map(|n| (n, ranged)), "{text}");
    }
    let one = |text: &str| {
        let statement = parse(&format!("DELETE FROM t WHERE {text}"), Vec::new()).expect("a statement");
        single(statement.condition().cloned(), &schema).map(|(_, rest)| rest.is_some()).map_err(|e| e.to_string())
    };
    assert_eq!(one("p = 'a' AND r = 1"), Ok(false));
    assert_eq!(one("(x = 1 AND p = 'a') AND r = 1"), Ok(true));
    let wanting = "Where clause does not contain a mandatory equality on all key attributes";
    assert_eq!(one("p = 'a' AND r > 1"), Err(wanting.into()));
    assert_eq!(one("p = 'a' OR r = 1"), Err(wanting.into()));
}
