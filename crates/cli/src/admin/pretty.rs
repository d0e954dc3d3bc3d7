//! JSON over several lines in the layout of RocketMQ's tools (fastjson): tabs, no blank after a colon, so that scripts
//! which look for `"perm":6` find it, and an empty array on two lines.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// The text of a value.
pub(super) fn json(value: &impl Serialize) -> String {
    let mut out = Vec::new();
    let layout = Layout { inner: PrettyFormatter::with_indent(b"\t"), depth: 0, empty: false };
    match value.serialize(&mut Serializer::with_formatter(&mut out, layout)) {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        Err(error) => format!("(no JSON: {error})"),
    }
}

struct Layout {
    inner: PrettyFormatter<'static>,
    /// Arrays and objects around the place.
    depth: usize,
    /// Whether the array that was begun last has no element yet.
    empty: bool,
}

impl Formatter for Layout {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.empty = true;
        self.inner.begin_array(out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if std::mem::take(&mut self.empty) {
            out.write_all(b"\n")?;
            out.write_all("\t".repeat(self.depth).as_bytes())?;
        }
        self.inner.end_array(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.empty = false;
        self.inner.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.end_array_value(out)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.inner.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        self.inner.end_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.inner.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b":")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.end_object_value(out)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn the_layout_is_fastjsons() {
        let value = json!({"a": [], "b": {}, "c": [1, []], "d": [{"e": [2]}, {"f": []}]});
        let lines = [
            "{",
            "\t\"a\":[",
            "\t],",
            "\t\"b\":{},",
            "\t\"c\":[",
            "\t\t1,",
            "\t\t[",
            "\t\t]",
            "\t],",
            "\t\"d\":[",
            "\t\t{",
            "\t\t\t\"e\":[",
            "\t\t\t\t2",
            "\t\t\t]",
            "\t\t},",
            "\t\t{",
            "\t\t\t\"f\":[",
            "\t\t\t]",
            "\t\t}",
            "\t]",
            "}",
        ];
        assert_eq!(super::json(&value), lines.join("\n"));
    }
}
