//! Names of the protocol versions that peers send: the constants of RocketMQ's `MQVersion`, which travel as their
//! ordinals.
//!
//! Since 3.0.1 each release has two constants, its snapshot and itself. Three stretches differ in how a minor version
//! counts its patches: `.0` to `.15` (3.0), `.0` to `.9`, and `.1` to `.9` (3.3 to 3.9).

/// The name of the version with this ordinal, such as `V5_3_2` for 477.
pub fn name(ordinal: i32) -> String {
    let Ok(ordinal) = u32::try_from(ordinal) else { return format!("UNKNOWN_{ordinal}") };
    let release = |since: u32| (ordinal - since) / 2;
    let (major, minor, patch) = match ordinal {
        // Betas of 3.0.0.
        0..16 => return "V3_0_0".to_owned(),
        16..46 => (3, 0, 1 + release(16)),
        46..86 => (3, 1 + release(46) / 10, release(46) % 10),
        86..212 => (3, 3 + release(86) / 9, 1 + release(86) % 9),
        212..612 => (4 + release(212) / 100, release(212) / 10 % 10, release(212) % 10),
        _ => return "HIGHER_VERSION".to_owned(),
    };
    let snapshot = if ordinal % 2 == 0 { "_SNAPSHOT" } else { "" };
    format!("V{major}_{minor}_{patch}{snapshot}")
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names_are_those_of_mq_version() {
        let known = [
            (15, "V3_0_0"),
            (16, "V3_0_1_SNAPSHOT"),
            (37, "V3_0_11"),
            (45, "V3_0_15"),
            (46, "V3_1_0_SNAPSHOT"),
            (63, "V3_1_8"),
            (79, "V3_2_6"),
            (86, "V3_3_1_SNAPSHOT"),
            (121, "V3_4_9"),
            (211, "V3_9_9"),
            (212, "V4_0_0_SNAPSHOT"),
            (232, "V4_1_0_SNAPSHOT"),
            (317, "V4_5_2"),
            (333, "V4_6_0"),
            (409, "V4_9_8"),
            (413, "V5_0_0"),
            (477, "V5_3_2"),
            (crate::header::VERSION, "V5_5_0"),
            (611, "V5_9_9"),
            (612, "HIGHER_VERSION"),
            (-1, "UNKNOWN_-1"),
        ];
        for (ordinal, expected) in known {
            assert_eq!(name(ordinal), expected, "{ordinal}");
        }
    }
}
