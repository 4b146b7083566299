//! Counts against published numbers, and what must hold of every plan.

mod properties;
mod results;
mod shares;

use cumo_bundle::{EngineLimits, FloatType, MoeFacts, Target, TensorrtFacts, TensorrtFlavour};

use crate::testing::{mistral_7b, mistral_7b_facts, mixtral_8x7b, mixtral_8x7b_facts};
use crate::weights::{held, parameters, read};
use crate::*;

fn request() -> Request {
    Request { images: 1, ..Request::default() }
}

fn on(device: &str, facts: &cumo_bundle::ModelFacts, request: &Request) -> Plan {
    let device = Device::by_id(device).unwrap();
    plan(&Subject::of_model(facts).unwrap(), &device, request).unwrap()
}

fn of(plan: &Plan, target: Target, dtype: FloatType) -> &PrecisionPlan {
    let wanted = Precision { target, dtype };
    plan.precisions.iter().find(|row| row.precision == wanted).unwrap()
}

#[test]
fn parameters_are_those_of_the_published_models() {
    let count = |sizes: &ModelSizes| Part::ALL.map(|part| parameters(part, sizes).parameters);
    let [vision, connector, embed, llm] = count(&mistral_7b());
    // The published tower has a last layer that is never run.
    let layer =
        4 * (1024 * 1024 + 1024) + 4 * 1024 + 4 * 1024 + 4 * (2 * 1024 * 4096 + 4096 + 1024);
    assert_eq!(layer, 37_781_504);
    assert_eq!(vision + 37_781_504, 907_952_128);
    assert_eq!(connector, 100_704_256);
    assert_eq!(embed + llm, 7_241_732_096);
    let [.., embed, llm] = count(&mixtral_8x7b());
    assert_eq!(embed + llm, 46_702_792_704);
    let active = parameters(Part::Llm, &mixtral_8x7b()).active;
    // Two of eight experts: Mixtral's 12.9 billion a token, with the embedding.
    assert_eq!(embed + active, 12_879_925_248);
}

#[test]
fn several_devices_have_a_row_each() {
    let plans: Vec<Plan> = ["orin-nano-8gb-super", "agx-orin-64gb", "rtx-4090"]
        .map(|device| on(device, &mistral_7b_facts(), &request()))
        .into();
    let text = side_by_side(&plans);
    let line = |device: &str| text.lines().find(|line| line.starts_with(device)).unwrap();
    for plan in &plans[1..] {
        let own = of(plan, Target::Tensorrt, FloatType::F16);
        let bounds = own.bounds.as_ref().unwrap();
        let rate = format!("{:.1} tok/s", bounds.decode[0].tokens_per_second);
        let row = line(&plan.device.id);
        assert!(row.contains(" yes ") && row.contains(&rate), "{text}");
        assert!(row.contains("tensorrt f16"), "{text}");
    }
    assert!(line("orin-nano-8gb-super ").contains("too much"), "{text}");
    assert!(text.contains("\norin-nano-8gb-super: devices with room for it: "), "{text}");
    assert_eq!(side_by_side(&[]), "");
}

#[test]
fn a_shared_head_is_counted_once_and_held_twice() {
    let mut facts = mistral_7b_facts();
    let precision = Precision { target: Target::Tensorrt, dtype: FloatType::F16 };
    let apart = ModelSizes::of(&facts).unwrap();
    facts.layers.as_mut().unwrap().tie_word_embeddings = true;
    let tied = ModelSizes::of(&facts).unwrap();
    let count = |sizes| parameters(Part::Llm, sizes).parameters;
    assert_eq!(count(&apart) - count(&tied), 32000 * 4096);
    assert_eq!(held(Part::Llm, precision, &apart), held(Part::Llm, precision, &tied));
}

#[test]
fn one_token_reads_the_experts_that_it_is_sent_to_and_many_read_nearly_all() {
    let precision = Precision { target: Target::Tensorrt, dtype: FloatType::F16 };
    let sizes = mixtral_8x7b();
    let all = held(Part::Llm, precision, &sizes) as f64;
    let tables = 2.0 * 32768.0 * 64.0 * 4.0;
    let experts = 32.0 * 3.0 * 4096.0 * 14336.0 * 2.0;
    assert_eq!(read(Part::Llm, precision, &sizes, 1.0), all - tables - 6.0 * experts);
    // Of two tokens, the second is sent to 1.5 experts that the first was not.
    let two = read(Part::Llm, precision, &sizes, 2.0) - read(Part::Llm, precision, &sizes, 1.0);
    assert!((two / experts - 1.5).abs() < 1e-9, "{two}");
    assert!((read(Part::Llm, precision, &sizes, 640.0) / (all - tables) - 1.0).abs() < 1e-9);
}

#[test]
fn the_cache_of_mistral_has_128_kib_a_position_in_half_precision() {
    let plan = on("rtx-4090", &mistral_7b_facts(), &request());
    let row = of(&plan, Target::Tensorrt, FloatType::F16);
    assert_eq!(row.cache_bytes, 4096 * 128 * 1024);
    // The portable graphs write a new cache beside the old one.
    assert_eq!(of(&plan, Target::Onnx, FloatType::F16).cache_bytes, 2 * 4096 * 128 * 1024);
    assert_eq!(of(&plan, Target::OrtCpu, FloatType::F32).cache_bytes, 2 * 4096 * 128 * 1024);
}

#[test]
fn decoding_is_bound_by_reading_what_a_token_needs() {
    let plan = on("agx-orin-64gb", &mistral_7b_facts(), &request());
    let row = of(&plan, Target::Tensorrt, FloatType::F16);
    let bounds = row.bounds.as_ref().unwrap();
    let decode = &bounds.decode[0];
    // 7.11e9 numbers of two bytes but for the norms', a row of the embedding, and the cache, at
    // 204.8 GB/s.
    let bytes = 2.0 * 7_110_660_096.0 + 2.0 * 65.0 * 4096.0 + 8192.0 + 640.0 * 131_072.0;
    assert_eq!((decode.depth_tokens, decode.token.bytes), (640, bytes));
    assert!((decode.tokens_per_second - 204.8e9 / bytes).abs() < 1e-9);
    assert_eq!(decode.token.limit, Limit::Bandwidth);
    assert_eq!(bounds.vision.unwrap().limit, Limit::Compute);
    // Joules are the mode's 30 W over the bound's time.
    assert!((decode.token.joules.unwrap() - 30.0 * bytes / 204.8e9).abs() < 1e-9);
}

#[test]
fn a_unified_memory_is_taken_by_every_precision_and_a_cards_by_engines() {
    let jetson = on("orin-nx-16gb-super", &mistral_7b_facts(), &request());
    let row = of(&jetson, Target::OrtCpu, FloatType::F16);
    assert_eq!((row.runs_on, row.fits), (RunsOn::Processor, Some(false)));
    let bounds = row.bounds.as_ref().unwrap();
    assert_eq!((bounds.vision, bounds.prefill, bounds.decode.len()), (None, None, 2));
    let card = on("h100-sxm", &mistral_7b_facts(), &request());
    let row = of(&card, Target::OrtCpu, FloatType::F16);
    assert_eq!((row.runs_on, row.fits, row.bounds.is_none()), (RunsOn::Host, None, true));
    assert_eq!(card.best.as_ref().unwrap().precision.target, Target::Tensorrt);
}

#[test]
fn a_processor_holds_f16_weights_as_f32_and_a_device_as_they_are() {
    let plan = on("thor-t5000", &mistral_7b_facts(), &request());
    let row = of(&plan, Target::OrtCpu, FloatType::F16);
    let single = of(&plan, Target::OrtCpu, FloatType::F32);
    let table = 2 * 32000 * 4096;
    // All but the table of embeddings, of which rows are looked up.
    assert_eq!(row.held_weights_bytes, single.weights_bytes - table);
    assert_eq!(single.held_weights_bytes, single.weights_bytes);
    let engines = of(&plan, Target::Tensorrt, FloatType::F16);
    assert_eq!(engines.held_weights_bytes, engines.weights_bytes);
    for row in &plan.precisions {
        let parts = row.held_weights_bytes + row.cache_bytes + row.activations_bytes;
        assert_eq!(row.total_bytes, parts);
    }
}

/// Engines of Mistral-7B in half precision.
fn engines(context: usize, target: Target, flavour: TensorrtFlavour, devices: &[u32]) -> Subject {
    let mut subject = Subject::of_model(&mistral_7b_facts()).unwrap();
    subject.made = Some(crate::subject::Made {
        precision: Precision { target, dtype: FloatType::F16 },
        weights: [1 << 20; 4],
        limits: Some(EngineLimits {
            max_context: context,
            max_prompt: 2048,
            max_images: 1,
            batch: 1,
            attended: vec![context],
        }),
        tensorrt: Some(TensorrtFacts {
            flavour,
            version: "10.3.0.30".to_owned(),
            compute_capabilities: devices.to_vec(),
        }),
    });
    subject
}

#[test]
fn engines_for_other_devices_than_the_planned_one_say_so() {
    let engines = |target, flavour, devices: &[u32]| engines(4096, target, flavour, devices);
    let advice = |subject: &Subject, device: &str| {
        let device = Device::by_id(device).unwrap();
        plan(subject, &device, &request()).unwrap().advice.join("\n")
    };
    let portable = engines(Target::Tensorrt, TensorrtFlavour::Rtx, &[]);
    let told = advice(&portable, "agx-orin-64gb");
    assert!(
        told.contains(
            "and later (TensorRT-RTX 10.3.0.30) and do not run on agx-orin-64gb, which has 8.7"
        ),
        "{told}"
    );
    assert!(!advice(&portable, "rtx-4090").contains("do not run"));
    let orin = engines(Target::Tensorrt103, TensorrtFlavour::V10, &[87]);
    assert!(!advice(&orin, "agx-orin-64gb").contains("do not run"));
    assert!(advice(&orin, "rtx-5090").contains("do not run on rtx-5090, which has 12.0"));
}

#[test]
fn devices_of_the_same_kind_come_first() {
    let advice = |id| on(id, &mixtral_8x7b_facts(), &request()).advice.join("; ");
    assert!(advice("agx-orin-64gb").contains("with room for it: thor-t5000, "));
    assert!(!advice("rtx-4090").contains("with room for it: thor-t5000"));
}

#[test]
fn engines_have_the_context_that_they_were_built_for() {
    let device = Device::by_id("rtx-4090").unwrap();
    let built = engines(512, Target::Tensorrt, TensorrtFlavour::Rtx, &[]);
    let error = plan(&built, &device, &request()).unwrap_err().to_string();
    assert!(error.starts_with("the engines' context of 512: the prompt has 577"), "{error}");
    let asked = Request { context: Some(512), ..request() };
    let error = plan(&built, &device, &asked).unwrap_err().to_string();
    assert!(error.starts_with("--context 512: the prompt has 577"), "{error}");
    let built = engines(1024, Target::Tensorrt, TensorrtFlavour::Rtx, &[]);
    let planned = |context| plan(&built, &device, &Request { context, ..request() }).unwrap();
    let text = planned(None).to_string();
    let row = text.lines().find(|line| line.starts_with("tensorrt f16 (these engines)"));
    assert!(row.unwrap().ends_with(" 1024 as built"), "{text}");
    assert!(text.contains("best: tensorrt f16, a context of 1024 (as built)"), "{text}");
    let text = planned(Some(800)).to_string();
    assert!(text.contains("a context of 800 (1024 as built)"), "{text}");
    let text = side_by_side(&[planned(None)]);
    assert!(text.contains(" 1024 as built "), "{text}");
}

#[test]
fn of_equal_precisions_the_one_that_needs_least_is_best() {
    let custom =
        CustomDevice { memory_gb: 64.0, bandwidth_gbs: 50.0, f16_tflops: 1.0, watts: None };
    let device = Device::custom(custom).unwrap();
    let subject = Subject::of_model(&mistral_7b_facts()).unwrap();
    let best = plan(&subject, &device, &request()).unwrap().best.unwrap();
    let single = Precision { target: Target::OrtCpu, dtype: FloatType::F32 };
    assert_eq!((best.precision, best.context), (single, 32768));
}

#[test]
fn what_does_not_fit_says_by_how_much_and_what_would() {
    let plan = on("orin-nano-8gb-super", &mistral_7b_facts(), &request());
    assert_eq!(plan.best, None);
    let row = of(&plan, Target::Tensorrt, FloatType::F16);
    assert_eq!(row.missing_bytes, row.total_bytes - plan.available_bytes);
    let advice = plan.advice.join("; ");
    assert!(advice.contains("the least, tensorrt f16, needs "), "{advice}");
    assert!(advice.contains("devices with room for it: agx-orin-64gb, thor-t4000, "), "{advice}");
}

#[test]
fn the_longest_context_fits_and_one_more_position_does_not() {
    let subject = Subject::of_model(&mistral_7b_facts()).unwrap();
    let device = Device::custom(CustomDevice {
        memory_gb: 18.0,
        bandwidth_gbs: 100.0,
        f16_tflops: 10.0,
        watts: None,
    });
    let device = device.unwrap();
    let best = plan(&subject, &device, &request()).unwrap().best.unwrap();
    assert_eq!(best.precision.target, Target::Tensorrt);
    assert!(best.fits_request && best.context > 4096 && best.context < 32768, "{best:?}");
    let fits = |context| {
        let request = Request { context: Some(context), ..request() };
        let plan = plan(&subject, &device, &request).unwrap();
        of(&plan, best.precision.target, best.precision.dtype).fits.unwrap()
    };
    assert!(fits(best.context) && !fits(best.context + 1));
}

#[test]
fn a_request_that_is_too_long_is_told_the_context_that_fits() {
    let subject = Subject::of_model(&mistral_7b_facts()).unwrap();
    let custom =
        CustomDevice { memory_gb: 18.0, bandwidth_gbs: 100.0, f16_tflops: 10.0, watts: None };
    let request = Request { context: Some(32768), ..request() };
    let plan = plan(&subject, &Device::custom(custom).unwrap(), &request).unwrap();
    let best = plan.best.as_ref().unwrap();
    assert!(!best.fits_request);
    let text = plan.to_string();
    assert!(text.contains(&format!("fits with a context of {}", best.context)), "{text}");
    assert!(text.contains("32768 does not fit"), "{text}");
}

#[test]
fn bad_questions_are_refused_with_the_reason() {
    let subject = Subject::of_model(&mistral_7b_facts()).unwrap();
    let device = Device::by_id("thor-t5000").unwrap();
    let refused = |request: Request| plan(&subject, &device, &request).unwrap_err().to_string();
    let cases = [
        (
            Request { context: Some(40000), ..request() },
            "--context 40000: the model has 1 to 32768",
        ),
        (Request { context: Some(0), ..request() }, "--context 0: the model has 1 to 32768"),
        (Request { context: Some(576), ..request() }, "the prompt has 577 positions"),
        (Request { images: 60, ..request() }, "60 images of 576"),
        (Request { images: u64::MAX, ..request() }, "leaves none for an answer"),
        (Request { prompt_tokens: Some(0), ..request() }, "a prompt has tokens"),
        (Request { prompt_tokens: Some(u64::MAX), ..request() }, "leaves none for an answer"),
        (Request { system_bytes: Some(u64::MAX), ..request() }, "--reserve-gb"),
        (Request { mode: Some("12W".to_owned()), ..request() }, "it has 120W, 40W, 130W"),
    ];
    for (request, part) in cases {
        let error = refused(request);
        assert!(error.contains(part), "{part} not in {error}");
    }
}

#[test]
fn a_question_without_images_has_no_bounds_of_the_tower() {
    let plan = on("rtx-5090", &mistral_7b_facts(), &Request::default());
    let bounds = of(&plan, Target::Tensorrt, FloatType::F16).bounds.clone().unwrap();
    assert_eq!((bounds.vision, bounds.connector, plan.request.prompt_positions), (None, None, 64));
    assert!(plan.to_string().contains("no image"));
}

#[test]
fn sizes_beyond_every_model_are_refused_before_they_are_multiplied() {
    let mut facts = mistral_7b_facts();
    facts.llm.hidden_size = usize::MAX;
    let error = Subject::of_model(&facts).unwrap_err().to_string();
    assert!(error.contains("llm hidden_size"), "{error}");
    facts = mistral_7b_facts();
    facts.llm.moe = Some(MoeFacts { num_experts: 0, num_experts_per_tok: 0 });
    assert!(Subject::of_model(&facts).is_err());
    facts = mistral_7b_facts();
    facts.layers = None;
    let error = Subject::of_model(&facts).unwrap_err().to_string();
    assert!(error.contains("export it again"), "{error}");
}

#[test]
fn the_largest_sizes_that_are_believed_do_not_overflow() {
    let mut facts = mixtral_8x7b_facts();
    let moe = Some(MoeFacts { num_experts: 1 << 16, num_experts_per_tok: 1 << 16 });
    facts.image.size = 1 << 14;
    facts.vision.scales = vec![64; 64];
    facts.vision.image_tokens = 1 << 28;
    (facts.vision.hidden_size, facts.vision.num_layers) = (1 << 20, 1023);
    (facts.vision.moe, facts.vision.connector_moe, facts.llm.moe) = (moe, moe, moe);
    (facts.llm.vocab_size, facts.llm.hidden_size) = (1 << 24, 1 << 20);
    (facts.llm.num_layers, facts.llm.context_length) = (1024, 1 << 30);
    (facts.llm.num_attention_heads, facts.llm.num_key_value_heads) = (1 << 14, 1 << 14);
    facts.llm.head_dim = 1 << 20;
    let layers = facts.layers.as_mut().unwrap();
    (layers.patch_size, layers.vision_num_attention_heads) = (1, 1 << 14);
    (layers.vision_intermediate_size, layers.llm_intermediate_size) = (1 << 22, 1 << 22);
    layers.connector_layers = 64;
    let plan =
        on("thor-t5000", &facts, &Request { images: 3, context: Some(1 << 30), ..request() });
    assert!(plan.best.is_none());
    assert!(plan.precisions.iter().all(|row| row.total_bytes == u64::MAX));
    assert!(!plan.to_string().contains("NaN"));
}

#[test]
fn json_has_its_format_and_the_numbers_of_the_text() {
    let plan = on("agx-orin-64gb", &mixtral_8x7b_facts(), &request());
    let json: serde_json::Value = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["format"], FORMAT);
    assert_eq!(json["format_version"], FORMAT_VERSION);
    let row = &json["precisions"][0];
    assert_eq!((&row["target"], &row["dtype"]), (&"tensorrt".into(), &"f16".into()));
    assert!(row["bounds"]["decode"][0]["tokens_per_second"].is_f64());
    assert!(json.get("measured").is_none());
}

#[test]
fn the_text_of_a_plan() {
    let plan = on("agx-orin-64gb", &mistral_7b_facts(), &request());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/mistral-7b.agx-orin-64gb.txt");
    let text = plan.to_string();
    if std::env::var_os("CUMO_RENEW_SNAPSHOTS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(path).unwrap(), "CUMO_RENEW_SNAPSHOTS=1 renews it");
}

#[test]
fn onnx_runtime_is_given_sixteen_crops_at_a_time_and_engines_all() {
    let activations = |target, scales: &[usize], images: u64| {
        let mut facts = mistral_7b_facts();
        facts.vision.scales = scales.to_vec();
        facts.vision.image_tokens = 4;
        // The same prompt, of more or fewer images.
        let prompt_tokens = Some(200 - 4 * images);
        let plan = on("rtx-4090", &facts, &Request { images, prompt_tokens, ..Request::default() });
        assert_eq!(plan.request.prompt_positions, 200);
        of(&plan, target, FloatType::F16).activations_bytes
    };
    for (scales, images) in [(&[1][..], 16), (&[2], 4), (&[1, 3], 1), (&[4], 1), (&[5], 1)] {
        let at = |target, images| activations(target, scales, images);
        let most = at(Target::OrtCpu, images);
        assert_eq!(at(Target::OrtCpu, images + 1), most, "{scales:?}");
        assert!(at(Target::OrtCpu, images - 1) < most, "{scales:?}");
        let engines = at(Target::Tensorrt, images);
        assert!(at(Target::Tensorrt, images + 1) > engines, "{scales:?}");
    }
}
