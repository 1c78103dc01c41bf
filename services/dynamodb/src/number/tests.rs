use super::*;
use crate::testing::Random;

fn check(input: &str, expected: Result<&str, NumberError>) {
    let got = Number::parse(input).map(|n| n.to_string());
    assert_eq!(got, expected.map(str::to_owned), "{input}");
}

#[test]
fn texts_are_normalised() {
    check("1", Ok("1"));
    check("+1.50", Ok("1.5"));
    check("-0", Ok("0"));
    check("0.000e999", Ok("0"));
    check(".5", Ok("0.5"));
    check("5.", Ok("5"));
    check("1e3", Ok("1000"));
    check("00012300", Ok("12300"));
    check("-0.00012E2", Ok("-0.012"));
    check("99999999999999999999999999999999999999", Ok("99999999999999999999999999999999999999"));
    check(&format!("1{}", "0".repeat(60)), Ok(&format!("1{}", "0".repeat(60))));
}

#[test]
fn bad_texts_are_refused() {
    check("", Err(NumberError::Empty));
    for text in ["a", "1a", " 1", "1 ", "--1", "1e", "1e+", ".", "+", "1.2.3", "NaN", "Infinity", "0x10", "1_000", "١"]
    {
        check(text, Err(NumberError::NotNumeric(text.to_owned())));
    }
    check("1e126", Err(NumberError::Overflow));
    check("9.9999999999999999999999999999999999999E+125", Ok(&format!("{}{}", "9".repeat(38), "0".repeat(88))));
    check("1e99999999999999999999999999", Err(NumberError::Overflow));
    check("1e-131", Err(NumberError::Underflow));
    check("1e-130", Ok(&format!("0.{}1", "0".repeat(129))));
    check("123456789012345678901234567890123456789", Err(NumberError::TooManyDigits));
}

/// A number as its digits in a fixed frame: index 0 stands for 10^-200, base 10.
fn wide(n: &Number) -> Vec<i8> {
    let mut frame = vec![0i8; 420];
    let sign = if n.negative { -1 } else { 1 };
    for (i, d) in n.mantissa().to_string().bytes().rev().enumerate() {
        frame[(i32::from(n.exponent) + 200) as usize + i] = sign * (d - b'0') as i8;
    }
    frame
}

/// Adds two frames; the result's digits all have one sign.
fn wide_sum(a: &[i8], b: &[i8]) -> (bool, Vec<u8>) {
    let total: Vec<i32> = a.iter().zip(b).map(|(x, y)| i32::from(*x) + i32::from(*y)).collect();
    let carry = |mut v: Vec<i32>| {
        for i in 0..v.len() - 1 {
            let c = v[i].div_euclid(10);
            v[i] -= c * 10;
            v[i + 1] += c;
        }
        v
    };
    let plain = carry(total.clone());
    let negative = *plain.last().unwrap() < 0;
    let digits = if negative { carry(total.iter().map(|d| -d).collect()) } else { plain };
    (negative, digits.into_iter().map(|d| d as u8).collect())
}

fn random(r: &mut Random) -> Number {
    let digits = 1 + r.below(38) as usize;
    let text: String = (0..digits).map(|_| (b'0' + r.below(10) as u8) as char).collect();
    let exponent = if r.below(2) == 0 { r.below(6) as i64 - 3 } else { r.below(160) as i64 - 120 };
    let sign = if r.below(2) == 0 { "-" } else { "" };
    Number::parse(&format!("{sign}{text}e{exponent}")).unwrap_or(Number::ZERO)
}

#[test]
fn sums_agree_with_long_addition() {
    let mut r = Random::new(7);
    let mut exact = 0;
    for _ in 0..20_000 {
        let (a, b) = (random(&mut r), random(&mut r));
        let (negative, digits) = wide_sum(&wide(&a), &wide(&b));
        let top = digits.iter().rposition(|d| *d != 0);
        let low = digits.iter().position(|d| *d != 0);
        let count = top.zip(low).map_or(0, |(t, l)| t - l + 1);
        match a.plus(b) {
            Ok(sum) => {
                exact += 1;
                assert!(count <= 38, "{a} + {b}");
                let (n, d) = wide_sum(&wide(&sum), &vec![0; 420]);
                assert_eq!((n, d), (negative, digits), "{a} + {b} = {sum}");
                assert_eq!(sum.minus(b).ok(), Some(a));
            }
            Err(NumberError::TooManyDigits) => assert!(count > 38, "{a} + {b}"),
            Err(NumberError::Overflow) => assert!(top.unwrap() > 325),
            Err(e) => panic!("{a} + {b}: {e}"),
        }
    }
    assert!(exact > 5_000);
}

#[test]
fn sort_bytes_order_as_numbers() {
    let mut r = Random::new(11);
    let key = |n: &Number| {
        let mut out = Vec::new();
        n.sort_bytes(&mut out);
        out
    };
    for _ in 0..50_000 {
        let (a, b) = (random(&mut r), random(&mut r));
        assert_eq!(a.cmp(&b), key(&a).cmp(&key(&b)), "{a} {b}");
        let by_difference = a.minus(b).map(|d| d.cmp(&Number::ZERO));
        if let Ok(ordering) = by_difference {
            assert_eq!(ordering, a.cmp(&b), "{a} {b}");
        }
    }
}

#[test]
fn storage_form_returns_the_number() {
    let mut r = Random::new(3);
    for _ in 0..20_000 {
        let n = random(&mut r);
        let mut bytes = Vec::new();
        n.encode(&mut bytes);
        bytes.push(9);
        let mut rest = bytes.as_slice();
        assert_eq!(Number::decode(&mut rest), Some(n));
        assert_eq!(rest, [9]);
        assert_eq!(Number::parse(&n.to_string()), Ok(n));
    }
    for cut in [&[][..], &[1], &[1, 0], &[17, 0, 0, 1], &[0x7f; 20]] {
        assert_eq!(Number::decode(&mut &*cut), None);
    }
}

#[test]
fn sizes_follow_digit_pairs() {
    for (text, size) in [("0", 1), ("1", 2), ("12", 2), ("123", 3), ("-1", 3), ("100", 2), ("0.5", 2), ("1.5", 3)] {
        assert_eq!(Number::parse(text).unwrap().size_bytes(), size, "{text}");
    }
}

#[test]
fn the_bytes_of_the_service_are_those_of_its_number_format() {
    for (text, expected) in [
        ("0", &[0x80][..]),
        ("1", &[0xc1, 2]),
        ("123", &[0xc2, 2, 24]),
        ("-123", &[0x3d, 100, 78, 102]),
        ("0.1", &[0xc0, 11]),
        ("0.01", &[0xc0, 2]),
        ("1200", &[0xc2, 13]),
    ] {
        let mut out = Vec::new();
        Number::parse(text).expect("a number").service_bytes(&mut out);
        assert_eq!(out, expected, "{text}");
    }
}

/// What the number is by a decimal library, or why the service does not store it.
fn by_library(value: &bigdecimal::BigDecimal) -> Result<String, NumberError> {
    let value = value.normalized();
    if value.sign() == bigdecimal::num_bigint::Sign::NoSign {
        return Ok("0".into());
    }
    let (digits, scale) = value.as_bigint_and_exponent();
    let length = digits.magnitude().to_string().len() as i64;
    match length - 1 - scale {
        126.. => Err(NumberError::Overflow),
        ..=-131 => Err(NumberError::Underflow),
        _ if length > 38 => Err(NumberError::TooManyDigits),
        _ => Ok(value.to_plain_string()),
    }
}

fn random_text(r: &mut Random) -> String {
    let sign = *r.pick(&["", "-", "+"]);
    let length = *r.pick(&[1, 2, 5, 19, 37, 38, 39, 45]);
    let zeros = r.below(3) == 0;
    let digits: String = (0..length).map(|_| if zeros { '0' } else { (b'0' + r.below(10) as u8) as char }).collect();
    let tail = *r.pick(&["", "", "0", "1", "000"]);
    let point = r.below(digits.len() as u64 + 1) as usize;
    let body = if r.below(2) == 0 {
        format!("{digits}{tail}")
    } else {
        format!("{}.{}{tail}", &digits[..point], &digits[point..])
    };
    let exponent = match r.below(4) {
        0 => format!("e{}", r.below(290) as i64 - 145),
        1 => format!("E+{}", r.below(130)),
        _ => String::new(),
    };
    format!("{sign}{body}{exponent}")
}

#[test]
fn numbers_agree_with_a_decimal_library() {
    use std::str::FromStr;
    let mut r = Random::new(38);
    let mut kept: Vec<(Number, bigdecimal::BigDecimal)> = Vec::new();
    for _ in 0..crate::testing::rounds(20_000) {
        let text = random_text(&mut r);
        let Ok(library) = bigdecimal::BigDecimal::from_str(&text) else { continue };
        let got = Number::parse(&text);
        assert_eq!(got.clone().map(|n| n.to_string()), by_library(&library), "{text}");
        let Ok(number) = got else { continue };
        if let Some((other, its)) = kept.get(r.below(kept.len().max(1) as u64) as usize) {
            assert_eq!(number.plus(*other).map(|n| n.to_string()), by_library(&(&library + its)), "{number} + {other}");
            assert_eq!(
                number.minus(*other).map(|n| n.to_string()),
                by_library(&(&library - its)),
                "{number} - {other}"
            );
            assert_eq!(number.cmp(other), library.cmp(its), "{number} and {other}");
            let sorted = |n: &Number| {
                let mut bytes = Vec::new();
                n.sort_bytes(&mut bytes);
                bytes
            };
            assert_eq!(sorted(&number).cmp(&sorted(other)), library.cmp(its), "{number} and {other} as bytes");
        }
        if kept.len() < 500 {
            kept.push((number, library));
        } else {
            kept[r.below(500) as usize] = (number, library);
        }
    }
}
