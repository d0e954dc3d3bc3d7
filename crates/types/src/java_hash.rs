//! `java.lang.String.hashCode`, which RocketMQ uses for tags: broker and clients must agree on it to the sign.

/// Hash of `text` as Java computes it: over UTF-16 code units, `h = 31 * h + unit`, wrapping at 32 bits.
pub fn hash_code(text: &str) -> i32 {
    if text.is_ascii() {
        return text.bytes().fold(0i32, |h, b| h.wrapping_mul(31).wrapping_add(i32::from(b)));
    }
    text.encode_utf16().fold(0i32, |h, unit| h.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The tag code of a consume queue unit: the hash of TAGS, 0 if there is none.
pub fn tag_code(tags: Option<&str>) -> i32 {
    tags.map_or(0, hash_code)
}

#[cfg(test)]
mod tests {
    use super::hash_code;

    #[test]
    fn agrees_with_java() {
        // Values printed by `"...".hashCode()` of a JDK.
        assert_eq!(hash_code(""), 0);
        assert_eq!(hash_code("TagA"), 2_598_919);
        assert_eq!(hash_code("polygenelubricants"), i32::MIN);
        assert_eq!(hash_code("标签"), 857_175);
        assert_eq!(hash_code("😀"), 1_772_899);
    }
}
