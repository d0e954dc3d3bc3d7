//! Whether a body is compressed as its system flag says. RocketMQ's Java consumer stops at a body that it cannot unpack
//! and goes on behind the whole answer: messages after it are never consumed. So such a message is not taken.

use steadfast_types::sys_flag::{
    COMPRESSED, COMPRESSION_LZ4, COMPRESSION_TYPE, COMPRESSION_ZLIB, COMPRESSION_ZSTD,
};

/// How an LZ4 frame begins (LZ4 frame format, 3.1.1).
const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// How a Zstandard frame begins (RFC 8878, 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Checks how a body begins; the error says what is wrong.
pub(super) fn check(sys_flag: i32, body: &[u8]) -> Result<(), String> {
    if sys_flag & COMPRESSED == 0 {
        return Ok(());
    }
    let (name, begins) = match sys_flag & COMPRESSION_TYPE {
        0 | COMPRESSION_ZLIB => ("zlib", is_zlib(body)),
        COMPRESSION_LZ4 => ("LZ4", body.starts_with(&LZ4_MAGIC)),
        COMPRESSION_ZSTD => ("Zstandard", body.starts_with(&ZSTD_MAGIC)),
        other => {
            return Err(format!(
                "the system flag {sys_flag} says that the body is compressed in way {}, which consumers do not know; \
                 0 and 3 are zlib, 1 is LZ4, 2 is Zstandard",
                other >> COMPRESSION_TYPE.trailing_zeros()
            ));
        }
    };
    if begins {
        return Ok(());
    }
    Err(format!(
        "the system flag {sys_flag} says that the body is compressed with {name}, but it does not begin like that; \
         compress it, or send it without the flag"
    ))
}

/// RFC 1950, 2.2: deflate with a window of up to 32 KiB, and a check of both bytes.
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [cmf, flags, ..]
        if cmf & 0x0f == 8 && cmf >> 4 <= 7 && (u16::from(*cmf) << 8 | u16::from(*flags)) % 31 == 0)
}
