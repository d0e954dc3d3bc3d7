//! Fail points: places between socket and log that fail on purpose, so that tests with real processes see what clients
//! are told then. Without the feature `failpoints`, which no released binary has, [`hit`] does nothing and costs nothing.
//!
//! `STEADFAST_FAILPOINT=BeforeWrite:error:100`: the hundredth time that the stage is reached it fails as it would for a
//! reason of its own (`error`), or its thread panics (`panic`) or stands still as long as the file exists that
//! `STEADFAST_FAILPOINT_GATE` names (`stall`). It happens once.

macro_rules! stages {
    ($($(#[doc = $doc:literal])+ $stage:ident,)+) => {
        /// A place that can fail. Where no failure of its own is possible, the text says what `error` does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Stage { $($(#[doc = $doc])+ $stage,)+ }

        #[cfg(feature = "failpoints")]
        const STAGES: &[Stage] = &[$(Stage::$stage),+];
    };
}

stages! {
    /// Frames were read from a connection; `error`: as if reading had failed.
    FrameRead,
    /// A request is decoded.
    Decode,
    /// Requests go to the core; `error`: they do not, and the connection is closed.
    Inbox,
    /// The core takes a step; `error`: the log cannot be written any more.
    Step,
    /// A write of the log begins.
    BeforeWrite,
    /// A write is durable, and nobody knows yet.
    AfterWrite,
    /// An answer is queued; `error`: it is not, and the connection is closed.
    Reply,
    /// Answers are written to a connection.
    SocketWrite,
    /// Space ahead of the log is filled.
    Fill,
    /// A checkpoint is written.
    Checkpoint,
    /// Files of dropped segments are freed.
    Free,
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::path::Path;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::time::Duration;

    use super::{STAGES, Stage};

    const VARIABLE: &str = "STEADFAST_FAILPOINT";
    const GATE: &str = "STEADFAST_FAILPOINT_GATE";
    /// Pause between two looks at the gate.
    const PAUSE: Duration = Duration::from_millis(5);

    /// What a stage fails with.
    #[derive(Debug, thiserror::Error)]
    #[error("fail point {0:?}")]
    pub(crate) struct Failure(Stage);

    /// What happens at a stage.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Action {
        Error,
        Panic,
        Stall,
    }

    struct FailPoint {
        stage: Stage,
        action: Action,
        /// Hits until it fails.
        left: AtomicU64,
    }

    impl FailPoint {
        fn from_env() -> Option<Self> {
            let text = std::env::var(VARIABLE).ok()?;
            let point = Self::parse(&text);
            assert!(
                point.is_some(),
                "{VARIABLE}={text} is not STAGE:error|panic|stall:HITS with one of {STAGES:?}"
            );
            point
        }

        fn parse(text: &str) -> Option<Self> {
            let (stage, rest) = text.split_once(':')?;
            let (action, hits) = rest.split_once(':')?;
            let stage = *STAGES.iter().find(|known| format!("{known:?}") == stage)?;
            let action = match action {
                "error" => Action::Error,
                "panic" => Action::Panic,
                "stall" => Action::Stall,
                _ => return None,
            };
            Some(FailPoint { stage, action, left: AtomicU64::new(hits.parse().ok()?) })
        }
    }

    fn stand_still() {
        let gate = std::env::var_os(GATE).unwrap_or_else(|| panic!("{GATE} names no file"));
        while Path::new(&gate).exists() {
            std::thread::sleep(PAUSE);
        }
    }

    /// A stage is reached.
    ///
    /// # Errors
    /// If it is to fail now.
    pub(crate) fn hit(stage: Stage) -> Result<(), Failure> {
        static POINT: OnceLock<Option<FailPoint>> = OnceLock::new();
        let point = POINT.get_or_init(FailPoint::from_env).as_ref().filter(|point| point.stage == stage);
        match point {
            Some(point) if point.left.fetch_sub(1, Relaxed) == 1 => {
                tracing::warn!("fail point {stage:?} is hit");
                match point.action {
                    Action::Error => return Err(Failure(stage)),
                    Action::Panic => panic!("fail point {stage:?}"),
                    Action::Stall => stand_still(),
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(feature = "failpoints")]
pub(crate) use armed::hit;

/// A stage is reached, and does not fail.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) const fn hit(_: Stage) -> Result<(), std::convert::Infallible> {
    Ok(())
}
