//! Graphs by kind, the weights of every step, and the steps themselves.

use std::collections::BTreeSet;

use cumo_bundle::{Binding, PartPrecision, Plan, Step};
use cumo_onnx::{DType, Graph};

use crate::builder::{Built, ModelBuilder, NamedWeight, RouterOutputs, Types, WeightsAs};
use crate::error::Error;
use crate::moe::{DOMAIN, PLUGIN};
use crate::part::PartName;
use crate::signature;
use crate::target::{LayerTarget, Target};

/// The types of every graph: products are f16, and what is between them f32.
const TYPES: Types = Types { product: DType::F16, between: DType::F32, stored: DType::F16 };

/// A model in graphs of layers.
pub struct Assembly {
    main: Box<dyn LayerTarget>,
    twin: Option<Box<dyn LayerTarget>>,
    router_outputs: RouterOutputs,
    /// One graph a kind of layer.
    pub kinds: Vec<Kind>,
    /// Each part's weights, in the order of use.
    pub weights: Vec<(PartName, Vec<NamedWeight>)>,
    known: BTreeSet<String>,
    /// What runs, in order.
    pub plan: Plan,
}

/// A graph that one or many steps run.
pub struct Kind {
    /// Its name in the manifest.
    pub name: String,
    /// The part that it belongs to.
    pub part: PartName,
    /// The graph.
    pub graph: Graph,
    /// The same with functions in place of plugin nodes, where there are any.
    pub twin: Option<Graph>,
}

impl Kind {
    /// The graph's file in the bundle.
    pub fn file(&self) -> String {
        format!("{}.onnx", self.name)
    }

    /// The twin's file in the bundle.
    pub fn twin_file(&self) -> String {
        format!("{}.functions.onnx", self.name)
    }
}

/// Builds a graph.
pub(super) type Build<'a> =
    &'a dyn Fn(&mut ModelBuilder<'_>, &dyn LayerTarget) -> Result<(), Error>;

impl Assembly {
    pub(super) fn new(
        main: Box<dyn LayerTarget>,
        twin: Option<Box<dyn LayerTarget>>,
        router_outputs: RouterOutputs,
    ) -> Assembly {
        let plan = Plan {
            cache: Vec::new(),
            encode_images: Vec::new(),
            embed_tokens: Vec::new(),
            decode: Vec::new(),
            attended: Vec::new(),
        };
        Assembly {
            main,
            twin,
            router_outputs,
            kinds: Vec::new(),
            weights: Vec::new(),
            known: BTreeSet::new(),
            plan,
        }
    }

    /// The spelling of the graphs.
    pub(super) fn spelling(&self) -> &dyn Target {
        self.main.as_ref()
    }

    /// The types of each part.
    pub fn precision() -> PartPrecision {
        PartPrecision {
            weights: signature::dtype(TYPES.stored),
            activations: signature::dtype(TYPES.product),
        }
    }

    /// A step that runs a graph of kind `kind`, built of the checkpoint's module `module`. A graph that
    /// is there already is not added again; one of the same kind that differs gets a number. Inputs
    /// and outputs that are no weights and not in `bindings` are activations of their names.
    pub(super) fn add(
        &mut self,
        (kind, part, module): (&str, PartName, &str),
        bindings: &[(&str, Binding)],
        build: Build<'_>,
    ) -> Result<Step, Error> {
        let Built { graph, weights, routers } = self.build(self.main.as_ref(), module, build)?;
        let binding = |name: &str| {
            let weight = weights.iter().find(|weight| weight.local == name);
            let router = routers.iter().find(|(local, _)| local == name);
            let given = bindings.iter().find(|(port, _)| *port == name);
            let binding = match (weight, router, given) {
                (Some(weight), _, _) => Binding::Weight(weight.name.clone()),
                (_, Some((_, name)), _) => Binding::Activation(name.clone()),
                (_, _, Some((_, binding))) => binding.clone(),
                _ => Binding::Activation(name.to_owned()),
            };
            (name.to_owned(), binding)
        };
        let inputs = graph.inputs().iter().map(|value| binding(value.name())).collect();
        let outputs = graph.outputs().iter().map(|value| binding(value.name())).collect();
        let graph = self.kind_of(kind, part, graph, module, build)?;
        self.keep_weights(part, weights);
        Ok(Step { graph, inputs, outputs })
    }

    fn build(
        &self,
        target: &dyn LayerTarget,
        module: &str,
        build: Build<'_>,
    ) -> Result<Built, Error> {
        let weights_as = WeightsAs::Inputs { module: module.to_owned() };
        let mut b = ModelBuilder::new(TYPES, weights_as, target, self.router_outputs);
        build(&mut b, target)?;
        b.finish()
    }

    /// The name of the kind that `graph` is of.
    fn kind_of(
        &mut self,
        name: &str,
        part: PartName,
        graph: Graph,
        module: &str,
        build: Build<'_>,
    ) -> Result<String, Error> {
        if let Some(known) = self.kinds.iter().find(|known| known.graph == graph) {
            return Ok(known.name.clone());
        }
        let twin = match &self.twin {
            Some(target) if graph.has_operator(DOMAIN, PLUGIN) => {
                Some(self.build(target.as_ref(), module, build)?.graph)
            }
            _ => None,
        };
        let taken = |name: &str| self.kinds.iter().any(|known| known.name == name);
        let mut free = name.to_owned();
        let mut number = 1;
        while taken(&free) {
            number += 1;
            free = format!("{name}_{number}");
        }
        self.kinds.push(Kind { name: free.clone(), part, graph, twin });
        Ok(free)
    }

    fn keep_weights(&mut self, part: PartName, weights: Vec<NamedWeight>) {
        let new: Vec<NamedWeight> =
            weights.into_iter().filter(|weight| self.known.insert(weight.name.clone())).collect();
        match self.weights.iter_mut().find(|(known, _)| *known == part) {
            Some((_, of_part)) => of_part.extend(new),
            None => self.weights.push((part, new)),
        }
    }
}
