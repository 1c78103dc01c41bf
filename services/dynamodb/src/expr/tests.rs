//! Texts of expression errors, meaning of expressions, a comparison with a naive model, and fuzzing.

use super::ExprKind;
use super::ast::{Compare, Condition, Operand, Path, Step};
use super::placeholders::Placeholders;
use super::project::Projection;
use super::{apply, eval, keycond, parser, update};
use crate::error::Error;
use crate::item::{Item, Value, has_duplicates};
use crate::number::Number;
use crate::testing::{Random, random_item, random_value};

fn s(text: &str) -> Value {
    Value::S(text.into())
}

fn n(value: i64) -> Value {
    Value::N(value.into())
}

fn item(pairs: &[(&str, Value)]) -> Item {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect()
}

fn map(pairs: &[(&str, Value)]) -> Value {
    Value::M(item(pairs))
}

fn scope() -> Placeholders {
    let names = [("#a", "a"), ("#n", "name")].map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
    let values = [
        (":s", s("x")),
        (":t", s("y")),
        (":n", n(5)),
        (":one", n(1)),
        (":bool", Value::Bool(true)),
        (":l", Value::L(vec![n(1)])),
        (":ss", Value::Ss(vec!["p".into(), "q".into()])),
        (":type", s("S")),
        (":empty", s("")),
    ];
    Placeholders::new(names, values.map(|(k, v)| (k.to_owned(), v)).to_vec())
}

fn text_of<T>(result: Result<T, Error>) -> String {
    result.err().map(|e| e.to_string()).unwrap_or_else(|| "ok".into())
}

fn check_condition(text: &str, expected: &str) {
    let got = text_of(parser::condition(ExprKind::Filter, text, &mut scope()));
    let got = got.strip_prefix("Invalid FilterExpression: ").unwrap_or(&got);
    assert_eq!(got, expected, "{text}");
}

fn check_update(text: &str, expected: &str) {
    let got = text_of(update::update(text, &mut scope()));
    let got = got.strip_prefix("Invalid UpdateExpression: ").unwrap_or(&got);
    assert_eq!(got, expected, "{text}");
}

#[test]
fn conditions_are_read_or_refused_with_the_right_text() {
    for text in [
        "a = :s",
        "#a.b[3].#n <> :n and not (b > :n or c in (:n, :one))",
        "attribute_exists(a.b) AND attribute_not_exists(#a)",
        "size(a) between :one and :n",
        "begins_with(a, :s) OR contains(a, :n) OR attribute_type(a, :type)",
        "(a = :s) AND (b = :s)",
        "((a = :s) OR (b = :s)) AND c = :n",
    ] {
        check_condition(text, "ok");
    }
    let function = "Incorrect operand type for operator or function; operator or function:";
    for (text, expected) in [
        ("", "The expression can not be empty;"),
        ("   ", "The expression can not be empty;"),
        ("a x :s", "Syntax error; token: \"x\", near: \"a x :s\""),
        ("a = ", "Syntax error; token: \"<EOF>\", near: \"=\""),
        ("a = :s AND", "Syntax error; token: \"<EOF>\", near: \"AND\""),
        ("a = :s b = :n", "Syntax error; token: \"b\", near: \":s b =\""),
        ("a", "Syntax error; token: \"<EOF>\", near: \"a\""),
        ("a = 5", "Syntax error; token: \"5\", near: \"= 5\""),
        ("a ? :s", "Syntax error; token: \"?\", near: \"a ? :s\""),
        ("name = :s", "Attribute name is a reserved keyword; reserved keyword: name"),
        ("#x = :s", "An expression attribute name used in the document path is not defined; attribute name: #x"),
        ("a = :x", "An expression attribute value used in expression is not defined; attribute value: :x"),
        ("foo(a)", "Invalid function name; function: foo"),
        ("size(a)", "The function is not allowed to be used this way in an expression; function: size"),
        (
            "attribute_exists(a) = :s",
            "The function is not allowed to be used this way in an expression; function: attribute_exists",
        ),
        (
            "attribute_exists(:s)",
            "Operator or function requires a document path; operator or function: attribute_exists",
        ),
        (
            "begins_with(a)",
            "Incorrect number of operands for operator or function; operator or function: begins_with, number of \
             operands: 1",
        ),
        ("begins_with(a, :n)", &format!("{function} begins_with, operand type: N")),
        ("a < :bool", &format!("{function} <, operand type: BOOL")),
        ("size(:n) = :n", &format!("{function} size, operand type: N")),
        (
            "attribute_type(a, :s)",
            "Invalid attribute type name found; type: x, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
        ),
        ("((a = :s))", "The expression has redundant parentheses;"),
        ("a = :s and (((b = :s)))", "The expression has redundant parentheses;"),
        (
            "a = a",
            "The first operand must be distinct from the remaining operands for this operator or function; operator: =, \
             first operand: [a]",
        ),
        (
            "a between :t and :s",
            "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: \
             AttributeValue: {S:y}, upper bound operand: AttributeValue: {S:x}",
        ),
        (
            "a between :n and :s",
            "The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: \
             AttributeValue: {N:5}, upper bound operand: AttributeValue: {S:x}",
        ),
        ("a[99999999999] = :s", "List index is not within the allowable range; index: [99999999999]"),
    ] {
        check_condition(text, expected);
    }
}

#[test]
fn sizes_and_operators_are_bounded() {
    let long = format!("a = :s{}", " ".repeat(4096));
    check_condition(&long, "Expression size has exceeded the maximum allowed size; expression size: 4102");
    let many = vec!["a=:s"; 200].join(" OR ");
    check_condition(&many, "The expression contains too many operators; operator count: 301");
    check_condition(&"(".repeat(4000), "The expression has redundant parentheses;");
    let nots = format!("{}a=:s", "NOT ".repeat(1000));
    check_condition(&nots, "The expression contains too many operators; operator count: 301");
    let calls = format!("{}a", "size(".repeat(800));
    check_condition(&calls, "The expression has redundant parentheses;");
}

#[test]
fn unused_placeholders_are_told() {
    let mut scope = scope();
    parser::condition(ExprKind::Filter, "#a = :s", &mut scope).expect("valid");
    assert_eq!(
        text_of(scope.check_used()),
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {#n}"
    );
    let bad = Placeholders::check_name("a");
    assert_eq!(text_of(bad), "ExpressionAttributeNames contains invalid key: Syntax error; key: \"a\"");
}

#[test]
fn updates_are_read_or_refused_with_the_right_text() {
    for text in [
        "SET a = :s, b = c + :n, d = if_not_exists(d, :n) - :one REMOVE e[0], f.g ADD h :n DELETE i :ss",
        "set #n = list_append(if_not_exists(#n, :l), :l)",
        "REMOVE a",
    ] {
        check_update(text, "ok");
    }
    for (text, expected) in [
        ("", "The expression can not be empty;"),
        ("SET", "Syntax error; token: \"<EOF>\", near: \"SET\""),
        ("SET a :s", "Syntax error; token: \":s\", near: \"a :s\""),
        ("SET a = :s b = :n", "Syntax error; token: \"b\", near: \":s b =\""),
        ("SET a = :n + :n + :n", "Syntax error; token: \"+\", near: \":n + :n\""),
        ("PUT a = :s", "Syntax error; token: \"PUT\", near: \"PUT a\""),
        ("ADD a b", "Syntax error; token: \"b\", near: \"a b\""),
        ("SET a = :s SET b = :s", "The \"SET\" section can only be used once in an update expression;"),
        ("SET name = :s", "Attribute name is a reserved keyword; reserved keyword: name"),
        ("SET a = size(b)", "The function is not allowed in an update expression; function: size"),
        ("SET a = foo(b)", "Invalid function name; function: foo"),
        (
            "SET a = if_not_exists(:s, :s)",
            "Operator or function requires a document path; operator or function: if_not_exists",
        ),
        ("SET a = b + :s", "Incorrect operand type for operator or function; operator or function: +, operand type: S"),
        (
            "SET a = list_append(a, :s)",
            "Incorrect operand type for operator or function; operator or function: list_append, operand type: S",
        ),
        (
            "ADD a :s",
            "Incorrect operand type for operator or function; operator: ADD, operand type: STRING, typeSet: \
             ALLOWED_FOR_ADD_OPERAND",
        ),
        (
            "DELETE a :n",
            "Incorrect operand type for operator or function; operator: DELETE, operand type: NUMBER, typeSet: \
             ALLOWED_FOR_DELETE_OPERAND",
        ),
        (
            "SET a = :s, a.b = :n",
            "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path \
             two: [a, b]",
        ),
        (
            "SET a.b = :s REMOVE a[0]",
            "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: [a, b], \
             path two: [a, [0]]",
        ),
    ] {
        check_update(text, expected);
    }
}

fn check_applied(text: &str, old: &[(&str, Value)], expected: Result<&[(&str, Value)], &str>) {
    let update = update::update(text, &mut scope()).unwrap_or_else(|e| panic!("{text}: {e}"));
    let got = apply::apply(&update, &item(old)).map_err(|e| e.to_string());
    assert_eq!(got, expected.map(item).map_err(str::to_owned), "{text}");
}

#[test]
fn updates_read_the_old_item_only() {
    check_applied("SET a = b, b = a", &[("a", n(1)), ("b", n(2))], Ok(&[("a", n(2)), ("b", n(1))]));
    check_applied("SET a = a + :n, b = if_not_exists(b, a)", &[("a", n(1))], Ok(&[("a", n(6)), ("b", n(1))]));
    check_applied("ADD a :n, b :ss", &[], Ok(&[("a", n(5)), ("b", Value::Ss(vec!["p".into(), "q".into()]))]));
    let set = |members: &[&str]| Value::Ss(members.iter().map(|m| (*m).to_owned()).collect());
    check_applied("ADD b :ss", &[("b", set(&["q", "r"]))], Ok(&[("b", set(&["p", "q", "r"]))]));
    check_applied("DELETE b :ss", &[("b", set(&["q", "r"]))], Ok(&[("b", set(&["r"]))]));
    check_applied("DELETE b :ss", &[("b", set(&["q"]))], Ok(&[]));
    check_applied("DELETE b :ss", &[], Ok(&[]));
}

#[test]
fn lists_grow_and_shrink_by_old_indexes() {
    let list = |members: &[i64]| Value::L(members.iter().map(|m| n(*m)).collect());
    let old = [("l", list(&[10, 11, 12, 13]))];
    check_applied("SET l[9] = :n, l[7] = :one", &old, Ok(&[("l", list(&[10, 11, 12, 13, 1, 5]))]));
    check_applied("REMOVE l[0], l[2]", &old, Ok(&[("l", list(&[11, 13]))]));
    check_applied("SET l[1] = :n REMOVE l[0], l[40]", &old, Ok(&[("l", list(&[5, 12, 13]))]));
    check_applied("SET l = list_append(:l, l)", &[("l", list(&[2]))], Ok(&[("l", list(&[1, 2]))]));
}

#[test]
fn updates_that_do_not_fit_the_item_are_refused() {
    let path = Err("The document path provided in the update expression is invalid for update");
    let data = Err("An operand in the update expression has an incorrect data type");
    let missing = Err("The provided expression refers to an attribute that does not exist in the item");
    check_applied("SET a.b = :n", &[], path);
    check_applied("SET a.b = :n", &[("a", n(1))], path);
    check_applied("SET a[0] = :n", &[("a", map(&[]))], path);
    check_applied("REMOVE a.b", &[], path);
    check_applied("REMOVE a.b", &[("a", map(&[]))], Ok(&[("a", map(&[]))]));
    check_applied("SET a = b", &[], missing);
    check_applied("SET a = b + :n", &[("b", s("x"))], data);
    check_applied("ADD a :n", &[("a", s("x"))], data);
    check_applied("DELETE a :ss", &[("a", n(1))], data);
}

fn check_holds(text: &str, expected: bool) {
    let list = Value::L(vec![n(1), s("x"), map(&[("k", s("v"))])]);
    let subject = item(&[
        ("a", s("abc")),
        ("num", n(5)),
        ("l", list),
        ("m", map(&[("k", n(7))])),
        ("tags", Value::Ss(vec!["x".into(), "y".into()])),
        ("nul", Value::Null),
    ]);
    let condition =
        parser::condition(ExprKind::Condition, text, &mut scope()).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(eval::holds(&condition, &subject), expected, "{text}");
}

#[test]
fn conditions_mean_what_the_service_means() {
    for text in [
        "num = :n",
        "num >= :n AND num <= :n",
        "num <> :s",
        "gone <> :s",
        "NOT gone = :s",
        "size(a) < :n",
        "size(l) > :one",
        "contains(tags, :s)",
        "contains(l, :one)",
        "contains(a, :empty)",
        "begins_with(a, :empty)",
        "num IN (:one, :n)",
        "m.k > :n",
        "l[2].k <> :n",
        "attribute_type(a, :type)",
        "attribute_exists(nul)",
        "a = :s OR num = :n AND attribute_exists(m.k)",
        "num BETWEEN :one AND :n",
    ] {
        check_holds(text, true);
    }
    for text in [
        "gone = :s",
        "gone < :n",
        "a > :n",
        "l[9] = :n",
        "l.k = :n",
        "contains(tags, :n)",
        "size(num) = :n",
        "attribute_not_exists(nul)",
        "(a = :s OR num = :n) AND attribute_not_exists(m.k)",
    ] {
        check_holds(text, false);
    }
}

/// What the path leads to, found the plain way.
fn naive_find<'i>(item: &'i Item, path: &Path) -> Option<&'i Value> {
    let mut value = item.iter().find(|(name, _)| *name == path.root)?.1;
    for step in &path.steps {
        value = match (step, value) {
            (Step::Attribute(name), Value::M(map)) => map.iter().find(|(n, _)| n == name)?.1,
            (Step::Index(index), Value::L(list)) => list.get(*index)?,
            _ => return None,
        };
    }
    Some(value)
}

fn random_path(r: &mut Random) -> (String, Path) {
    let root = crate::testing::random_name(r);
    let (mut text, mut steps) = (root.clone(), Vec::new());
    for _ in 0..r.below(3) {
        if r.below(2) == 0 {
            let index = r.below(3) as usize;
            text.push_str(&format!("[{index}]"));
            steps.push(Step::Index(index));
        } else {
            let name = crate::testing::random_name(r);
            text.push_str(&format!(".{name}"));
            steps.push(Step::Attribute(name));
        }
    }
    (text, Path { root, steps })
}

#[test]
fn conditions_agree_with_a_naive_model() {
    let mut r = Random::new(21);
    let mut held = 0;
    for _ in 0..20_000 {
        let subject = random_item(&mut r);
        let (text, path) = random_path(&mut r);
        let present = naive_find(&subject, &path);
        // Half of the time the value that is there, so that equality and order happen.
        let value = match present {
            Some(present) if r.below(2) == 0 => present.clone(),
            _ => random_value(&mut r, 1),
        };
        let ordered = value.kind().is_ordered();
        let sign = if ordered { *r.pick(&["=", "<>", "<", "<=", ">", ">="]) } else { *r.pick(&["=", "<>"]) };
        let order = present.and_then(|p| naive_order(p, &value));
        let expected = match sign {
            "=" => present == Some(&value),
            "<>" => present != Some(&value),
            "<" => order == Some(-1),
            "<=" => matches!(order, Some(-1 | 0)),
            ">" => order == Some(1),
            _ => matches!(order, Some(0 | 1)),
        };
        let mut scope = Placeholders::new(Vec::new(), vec![(":v".into(), value.clone())]);
        let text = format!("{text} {sign} :v");
        let condition = parser::condition(ExprKind::Filter, &text, &mut scope).expect("valid");
        assert_eq!(eval::holds(&condition, &subject), expected, "{text} {value:?} {subject:?}");
        held += usize::from(expected);
    }
    assert!(held > 1_000);
}

fn naive_order(a: &Value, b: &Value) -> Option<i32> {
    let sign = |o: std::cmp::Ordering| o as i32;
    match (a, b) {
        (Value::S(a), Value::S(b)) => Some(sign(a.bytes().cmp(b.bytes()))),
        (Value::B(a), Value::B(b)) => Some(sign(a.iter().cmp(b.iter()))),
        (Value::N(a), Value::N(b)) => Some(sign(a.minus(*b).map_or(a.cmp(b), |d| d.cmp(&Number::ZERO)))),
        _ => None,
    }
}

#[test]
fn set_then_get_finds_the_value() {
    let mut r = Random::new(22);
    let mut applied = 0;
    for _ in 0..20_000 {
        let old = random_item(&mut r);
        let (text, path) = random_path(&mut r);
        let value = random_value(&mut r, 2);
        let mut scope = Placeholders::new(Vec::new(), vec![(":v".into(), value.clone())]);
        let update = update::update(&format!("SET {text} = :v"), &mut scope).expect("valid");
        let Ok(new) = apply::apply(&update, &old) else { continue };
        applied += 1;
        let found = naive_find(&new, &path);
        let appended = matches!(path.steps.last(), Some(Step::Index(_))) && found.is_none();
        assert!(found == Some(&value) || appended, "{text} {old:?} {new:?}");
        let others = |item: &Item| {
            item.iter().filter(|(n, _)| *n != path.root).map(|(n, v)| (n.to_owned(), v.clone())).collect::<Item>()
        };
        assert_eq!(others(&old), others(&new));
        let projected = Projection::new([&path]).apply(&new);
        assert_eq!(projected.is_empty(), found.is_none(), "{text} {new:?}");
        if let Some(found) = found {
            let (size, kept) = (projected.len(), naive_leaf(&projected, &path));
            assert_eq!((size, kept), (1, Some(found)), "{text} {projected:?}");
        }
    }
    assert!(applied > 2_000);
}

/// The one value that a projection by one path kept: every index became 0.
fn naive_leaf<'i>(projected: &'i Item, path: &Path) -> Option<&'i Value> {
    let first = |step: &Step| match step {
        Step::Index(_) => Step::Index(0),
        name => name.clone(),
    };
    let flat = Path { root: path.root.clone(), steps: path.steps.iter().map(first).collect() };
    naive_find(projected, &flat)
}

#[test]
fn sets_stay_sets_under_add_and_delete() {
    let mut r = Random::new(23);
    for _ in 0..5_000 {
        let mut members = || -> Vec<Number> {
            let mut all: Vec<Number> = (0..1 + r.below(5)).map(|_| Number::from(r.below(6) as i64)).collect();
            all.sort();
            all.dedup();
            all
        };
        let (a, b) = (members(), members());
        let Ok(Value::Ns(union)) = apply::added(&Value::Ns(a.clone()), &Value::Ns(b.clone())) else { panic!() };
        assert!(!has_duplicates(&union));
        assert!((0..6).map(Number::from).all(|m| union.contains(&m) == (a.contains(&m) || b.contains(&m))));
        let left = apply::subtracted(&Value::Ns(a.clone()), &Value::Ns(b.clone())).expect("two sets");
        let left = match left {
            Some(Value::Ns(left)) => left,
            _ => Vec::new(),
        };
        assert!((0..6).map(Number::from).all(|m| left.contains(&m) == (a.contains(&m) && !b.contains(&m))));
    }
}

#[test]
fn random_texts_never_panic() {
    let mut r = Random::new(24);
    let words = [
        "a",
        "#a",
        ":s",
        ":n",
        "(",
        ")",
        "[",
        "]",
        "0",
        "1",
        ".",
        ",",
        "=",
        "<>",
        "<",
        ">=",
        "+",
        "-",
        "AND",
        "or",
        "NOT",
        "between",
        "IN",
        "size",
        "contains",
        "attribute_exists",
        "begins_with",
        "SET",
        "REMOVE",
        "add",
        "DELETE",
        "if_not_exists",
        "list_append",
        "name",
        "é",
        "\u{0}",
        "?",
        "#",
        ":",
        "99999999999999999999",
        " ",
    ];
    for _ in 0..30_000 {
        let text: String =
            (0..r.below(14)).flat_map(|_| [*r.pick(&words), if r.below(3) == 0 { "" } else { " " }]).collect();
        if let Ok(condition) = parser::condition(ExprKind::Condition, &text, &mut scope()) {
            eval::holds(&condition, &random_item(&mut r));
            let _ = keycond::parts(condition);
        }
        if let Ok(update) = update::update(&text, &mut scope()) {
            let _ = apply::apply(&update, &random_item(&mut r));
        }
        if let Ok(paths) = parser::projection(&text, &mut scope()) {
            Projection::new(&paths).apply(&random_item(&mut r));
        }
    }
}

fn check_key_condition(text: &str, expected: &str) {
    use crate::key::{KeyAttribute, KeySchema};
    let attribute = |name: &str| KeyAttribute { name: name.into(), kind: crate::item::Kind::S };
    let schema = KeySchema { hash: attribute("pk"), range: Some(attribute("sk")) };
    let range = parser::condition(ExprKind::KeyCondition, text, &mut scope())
        .and_then(keycond::parts)
        .and_then(|parts| keycond::KeyRange::new(parts, &schema));
    assert_eq!(text_of(range), expected, "{text}");
}

#[test]
fn key_conditions_fit_the_schema() {
    for text in
        ["pk = :s", ":s = pk AND :t > sk", "(sk BETWEEN :s AND :t) AND pk = :s", "pk=:s and begins_with(sk, :t)"]
    {
        check_key_condition(text, "ok");
    }
    for (text, expected) in [
        ("sk = :s", "Query condition missed key schema element: pk"),
        ("pk = :s AND x = :s", "Query condition missed key schema element: sk"),
        ("pk > :s", "Query key condition not supported"),
        ("pk = :s OR sk = :s", "Invalid operator used in KeyConditionExpression: OR"),
        ("pk = :s AND sk <> :s", "Invalid operator used in KeyConditionExpression: <>"),
        ("pk = :s AND contains(sk, :s)", "Invalid operator used in KeyConditionExpression: contains"),
        ("pk = :s AND pk = :t", "KeyConditionExpressions must only contain one condition per key"),
        ("pk = sk", "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition"),
        (":s = :t", "Invalid condition in KeyConditionExpression: No key attribute specified"),
        ("pk.a = :s", "KeyConditionExpressions cannot have conditions on nested attributes"),
        ("pk = :n", "One or more parameter values were invalid: Condition parameter type does not match schema type"),
    ] {
        check_key_condition(text, expected);
    }
}

#[test]
fn comparators_mirror() {
    let value = |v: i64| Operand::Value(std::sync::Arc::new(n(v)));
    for compare in [Compare::Eq, Compare::Ne, Compare::Lt, Compare::Le, Compare::Gt, Compare::Ge] {
        for (a, b) in [(1, 2), (2, 1), (1, 1)] {
            let one = Condition::Compare(value(a), compare, value(b));
            let two = Condition::Compare(value(b), compare.mirrored(), value(a));
            assert_eq!(eval::holds(&one, &Item::new()), eval::holds(&two, &Item::new()));
        }
    }
}
