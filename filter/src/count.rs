//! What is counted, and under which name Envoy shows it. Counting never fails a call.

macro_rules! counts {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// One counter of this VM; Envoy adds those of all VMs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Count {
            $($(#[$doc])* $variant,)*
        }

        impl Count {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name of the counter in Envoy's statistics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("agentgate.", $name),)*
                }
            }
        }
    };
}

counts! {
    CallsAllowed = "calls_allowed",
    CallsPending = "calls_pending",
    CallsDenied = "calls_denied",
    /// The call could not be read.
    CallsMalformed = "calls_malformed",
    /// The body was larger than the route takes, or all exchanges together held too much.
    CallsTooLarge = "calls_too_large",
    /// Went on whatever its verdict: its route observes, or it was answered so.
    CallsObserved = "calls_observed",
    /// The client left while it waited, or the verdict came late: allowed and never sent on.
    CallsNotReleased = "calls_not_released",
    RequestsPassed = "requests_passed",
    /// A path that no route names.
    RequestsUnnamed = "requests_unnamed",
    /// An upgrade or CONNECT.
    RequestsUpgrade = "requests_upgrade",
    UndecidedOverloaded = "undecided_overloaded",
    UndecidedExpired = "undecided_expired",
    UndecidedContended = "undecided_contended",
    UndecidedJournal = "undecided_journal",
    UndecidedPolicy = "undecided_policy",
    UndecidedDraining = "undecided_draining",
    UndecidedIdentity = "undecided_identity",
    UndecidedReused = "undecided_reused",
    UndecidedQuotaExceeded = "undecided_quota_exceeded",
    UndecidedUnreadable = "undecided_unreadable",
    UndecidedNoAnswer = "undecided_no_answer",
    UndecidedStreamLost = "undecided_stream_lost",
    UndecidedUnreachable = "undecided_unreachable",
    UndecidedCrowded = "undecided_crowded",
    ListsFiltered = "lists_filtered",
    ResponsesWithheld = "responses_withheld",
    /// An answer that nobody waited for any more.
    AnswersLate = "answers_late",
    /// Calls that went on and of which no copy could be kept: no room, or nobody there whose orders were known.
    ObservationsLost = "observations_lost",
    /// A standing of the control plane's that is obeyed from then on.
    StandingsKept = "standings_kept",
    /// Entries for which there was no room.
    ReportsLost = "reports_lost",
    StreamsOpened = "streams_opened",
    StreamsRefused = "streams_refused",
    StreamsLost = "streams_lost",
    /// The host refused an effect.
    HostErrors = "host_errors",
}
