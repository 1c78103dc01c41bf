use super::*;
use crate::context::{Context, Principal};

/// The obvious recursive glob, character by character.
fn naive(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), None) => naive(rest, text),
        (Some(('*', rest)), Some((_, tail))) => naive(rest, text) || naive(pattern, tail),
        (Some(('?', rest)), Some((_, tail))) => naive(rest, tail),
        (Some((p, rest)), Some((t, tail))) if p == t => naive(rest, tail),
        _ => false,
    }
}

/// A small generator with a fixed seed: failures repeat.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn text(&mut self, alphabet: &[char], len_max: usize) -> String {
        let len = self.roll(len_max + 1);
        (0..len).map(|_| alphabet[self.roll(alphabet.len())]).collect()
    }
}

#[test]
fn globs_agree_with_the_naive_matcher() {
    let (context, principal) = (Context::new(), Principal::anonymous());
    let scope = Scope { principal: &principal, context: &context };
    let mut dice = Dice(7);
    let mut matched = 0;
    for _ in 0..60_000 {
        let pattern = dice.text(&['a', 'b', 'é', '*', '?', ':'], 8);
        let text = dice.text(&['a', 'b', 'é', ':'], 10);
        let chars = |s: &str| s.chars().collect::<Vec<_>>();
        let want = naive(&chars(&pattern), &chars(&text));
        let compiled = Pattern::new(&pattern, Syntax { wildcards: true, ..Syntax::default() });
        assert_eq!(compiled.matches(&text, &scope), want, "pattern {pattern:?} text {text:?}");
        matched += usize::from(want);
    }
    assert!(matched > 2_000, "the generator must give both answers: {matched}");
}

#[test]
fn a_hostile_pattern_takes_no_exponential_time() {
    let (context, principal) = (Context::new(), Principal::anonymous());
    let scope = Scope { principal: &principal, context: &context };
    let pattern = Pattern::new(&"*a".repeat(500), Syntax { wildcards: true, ..Syntax::default() });
    assert!(!pattern.matches(&format!("{}b", "a".repeat(2_000)), &scope));
    assert!(pattern.matches(&"a".repeat(2_000), &scope));
}

#[test]
fn variables_are_literal_and_unknown_ones_match_nothing() {
    let mut principal = Principal::user("arn:aws:iam::123456789012:user/div/ana", "AIDAEXAMPLE");
    principal.tags.push(("team".into(), "red*".into()));
    let mut context = Context::new().with("ec2:SourceInstanceARN", "i-1");
    context.set("aws:TagKeys", ["a".to_owned(), "b".to_owned()]);
    let scope = Scope { principal: &principal, context: &context };
    let cases = [
        ("b/${aws:username}/*", "b/ana/x", true),
        ("b/${aws:username}/*", "b/bob/x", false),
        ("b/${AWS:UserName}", "b/ana", true),
        ("${aws:userid}", "AIDAEXAMPLE", true),
        ("t/${aws:PrincipalTag/Team}", "t/red*", true),
        ("t/${aws:PrincipalTag/Team}", "t/redder", false),
        ("t/${aws:PrincipalTag/none}", "t/", false),
        ("t/${aws:PrincipalTag/none, 'blue'}", "t/blue", true),
        ("${aws:TagKeys}", "a", false),
        ("a${*}b${?}${$}", "a*b?$", true),
        ("a${*}b", "axb", false),
        ("${unclosed", "${unclosed", true),
        ("$x", "$x", true),
    ];
    for (pattern, text, want) in cases {
        let compiled = Pattern::new(pattern, Syntax { wildcards: true, variables: true, lower_case: false });
        assert_eq!(compiled.matches(text, &scope), want, "{pattern} {text}");
        let old = Pattern::new(pattern, Syntax { wildcards: true, variables: false, lower_case: false });
        assert!(!pattern.contains("${aws") || !old.matches(text, &scope), "no variables in 2008-10-17: {pattern}");
    }
}

#[test]
fn arn_wildcards_stay_within_their_part() {
    let (context, principal) = (Context::new(), Principal::anonymous());
    let scope = Scope { principal: &principal, context: &context };
    let cases = [
        ("arn:aws:sns:*:123456789012:topic", "arn:aws:sns:us-east-1:123456789012:topic", true),
        ("arn:aws:sns:*:topic", "arn:aws:sns:us-east-1:123456789012:topic", false),
        ("arn:aws:sns:us-*:*:t*", "arn:aws:sns:us-east-1:123456789012:topic:sub", true),
        ("arn:*:s3:::b/*", "arn:aws:s3:::b/x:y", true),
        ("*", "arn:aws:s3:::b", true),
        ("arn:aws:s3:::b", "nonsense", false),
    ];
    for (pattern, text, want) in cases {
        assert_eq!(ArnPattern::new(pattern, true).matches(text, &scope), want, "{pattern} {text}");
    }
}
