//! What a Rego file says, reduced to what the lint judges. It knows no engine and judges nothing itself.

/// One file of Rego, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Module {
    pub path: String,
    /// `agentgate.platform`.
    pub package: String,
    pub imports: Vec<Use>,
    pub rules: Vec<Rule>,
}

/// One rule: its head, and all that its head and bodies use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub line: u32,
    pub name: String,
    pub shape: Shape,
    pub uses: Vec<Use>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `name contains element if …`
    Set,
    /// `name(argument) := value if …`
    Function,
    /// Everything else: a value, an object, a default.
    Value,
}

/// One thing that a rule makes use of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub line: u32,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A call by name; an argument is here where it is a text written into the call.
    Call {
        name: String,
        arguments: Vec<Option<String>>,
    },
    /// A variable, or a path from one.
    Reference(Vec<Step>),
    Import(String),
    Else,
    With,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Name(String),
    /// `[x]`: known only while it runs.
    Computed,
}
