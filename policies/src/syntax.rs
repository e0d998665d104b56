//! What a Rego file says, reduced to what the lint judges. It knows no engine and judges nothing itself.

use std::collections::BTreeSet;

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    pub line: u32,
    pub name: String,
    pub shape: Shape,
    pub uses: Vec<Use>,
    /// All of it, as it was written.
    pub text: String,
    /// The literal `"rule"` of the element that it contributes.
    pub element: Option<String>,
    /// One for each body.
    pub guards: Vec<Guard>,
    /// `x := path` of its bodies.
    pub aliases: Vec<(String, Vec<Step>)>,
    /// The path that its name is another name of.
    pub stands_for: Option<Vec<Step>>,
}

/// What a body asks of a call by equalities with texts, before anything else can matter. None: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Guard {
    pub servers: Option<BTreeSet<String>>,
    pub tools: Option<BTreeSet<String>>,
    pub methods: Option<BTreeSet<String>>,
    /// `not input.tool`.
    pub no_tool: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `name contains element if …`
    Set,
    /// `name(argument) := value if …`
    Function,
    /// Everything else: a value, an object, a default.
    #[default]
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
    /// `[x]`, and whether it is known from the call alone: a number, or a path of `input`.
    Computed {
        rego: String,
        fixed: bool,
    },
}

// === impl Step ===

impl Step {
    pub(crate) const fn is_fixed(&self) -> bool {
        match self {
            Self::Name(_) => true,
            Self::Computed { fixed, .. } => *fixed,
        }
    }
}

// === impl Guard ===

impl Guard {
    /// Asks that a field of `input` be one of `names`, beside what is asked already.
    pub(crate) fn demand(&mut self, field: &str, names: BTreeSet<String>) {
        let asked = match field {
            "server" => &mut self.servers,
            "tool" => &mut self.tools,
            "method" => &mut self.methods,
            _ => return,
        };
        let both = match asked.take() {
            Some(before) => before.intersection(&names).cloned().collect(),
            None => names,
        };
        *asked = Some(both);
    }

    /// Asks what both ask.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (field, names) in [("server", &other.servers), ("tool", &other.tools), ("method", &other.methods)] {
            if let Some(names) = names {
                both.demand(field, names.clone());
            }
        }
        both.no_tool |= other.no_tool;
        both
    }

    /// Whether a call of this tool can be what is asked for.
    pub(crate) fn admits(&self, server: &str, tool: &str) -> bool {
        let holds = |names: &Option<BTreeSet<String>>, name: &str| names.as_ref().is_none_or(|names| names.contains(name));
        !self.no_tool && holds(&self.servers, server) && holds(&self.tools, tool) && holds(&self.methods, "tools/call")
    }
}
