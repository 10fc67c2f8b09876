//! Every rule of the format, by the message its breach gets.

use super::*;
use serde_json::{Value, json};

fn standard() -> Value {
    json!({
        "input": {
            "size": [256, 256], "spacing_mm": null, "outside_hu": -1000.0,
            "channels": [
                {"slice_offset": 0, "window": {"level": 40.0, "width": 80.0}},
                {"slice_offset": 0, "window": {"level": 80.0, "width": 200.0}},
                {"slice_offset": 0, "window": {"level": 600.0, "width": 2800.0}}
            ],
            "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]
        },
        "backbone": {"kind": "densenet", "init_features": 64, "growth_rate": 32, "block_config": [6, 12, 24, 16], "bn_size": 4, "bn_eps": 1e-5},
        "segmentation": [1, 2, 3],
        "attention": {"kind": "sigmoid", "heads": 1},
        "rnn": {"kind": "lstm", "hidden": 256, "layers": 1, "bidirectional": true},
        "classes": ["any"],
        "scan": {"rule": "consecutive", "n": 3},
        "thresholds": {"any": 0.5}
    })
}

/// The message for the standard configuration with `value` put at `pointer`.
fn refusal(pointer: &str, value: Value) -> String {
    let mut config = standard();
    *config.pointer_mut(pointer).unwrap() = value;
    let error = Config::from_json(&config.to_string()).expect_err(pointer);
    assert_eq!(error.kind(), ErrorKind::BadModel);
    error.message().to_owned()
}

fn accepted(pointer: &str, value: Value) -> Config {
    let mut config = standard();
    *config.pointer_mut(pointer).unwrap() = value;
    Config::from_json(&config.to_string()).unwrap()
}

#[test]
fn the_standard_configuration_is_densenet121() {
    assert_eq!(Config::from_json(&standard().to_string()).unwrap(), Config::densenet121());
}

#[test]
fn what_is_written_reads_back_equal() {
    let mut odd = Config::densenet(&[2, 3]);
    odd.input.spacing_mm = Some(0.1 + 0.2);
    odd.input.channels[0].slice_offset = -1;
    odd.scan = ScanRule::NoisyOr {};
    for (attention, rnn) in [
        (Attention::None, Rnn::None),
        (Attention::Softmax { heads: 3 }, Rnn::Gru(RnnShape { hidden: 40, layers: 2, bidirectional: false })),
    ] {
        odd.attention = attention;
        odd.rnn = rnn;
        assert_eq!(Config::from_json(&odd.to_json().unwrap()).unwrap(), odd);
    }
}

#[test]
fn every_key_is_required_and_no_other_is_allowed() {
    let mut objects = vec![String::new()];
    let mut checked = 0;
    while let Some(at) = objects.pop() {
        let keys: Vec<String> = standard().pointer(&at).unwrap().as_object().unwrap().keys().cloned().collect();
        for key in keys {
            let pointer = format!("{at}/{key}");
            let path = pointer.trim_start_matches('/').replace('/', ".");
            let mut without = standard();
            without.pointer_mut(&at).unwrap().as_object_mut().unwrap().remove(&key);
            let error = Config::from_json(&without.to_string()).unwrap_err();
            let expected = if at == "/thresholds" { "the class `any`".to_owned() } else { format!("the key `{path}`") };
            assert!(error.message().contains(&expected), "{pointer}: {error}");
            if standard().pointer(&pointer).unwrap().is_object() {
                objects.push(pointer);
            }
            checked += 1;
        }
        let mut with = standard();
        with.pointer_mut(&at).unwrap().as_object_mut().unwrap().insert("extra".to_owned(), json!(1.0));
        let error = Config::from_json(&with.to_string()).unwrap_err();
        let path = format!("{at}/extra").trim_start_matches('/').replace('/', ".");
        let expected = if at == "/thresholds" { "thresholds".to_owned() } else { format!("the unknown key `{path}`") };
        assert!(error.message().contains(&expected), "{at}: {error}");
    }
    assert_eq!(checked, 8 + 6 + 6 + 2 + 4 + 2 + 1);
    let channel = json!([{"slice_offset": 0, "window": {"level": 0, "width": 1, "hight": 2}}]);
    assert!(refusal("/input/channels", channel).contains("the unknown key `input.channels[0].window.hight`"));
    let channel = json!([{"window": {"level": 0, "width": 1}}]);
    assert!(refusal("/input/channels", channel).contains("lacks the key `input.channels[0].slice_offset`"));
}

#[test]
fn a_key_given_twice_is_an_error() {
    let text = standard().to_string().replacen("\"bn_size\":4", "\"bn_size\":4,\"bn_size\":4", 1);
    assert!(Config::from_json(&text).unwrap_err().message().contains("`bn_size` appears twice"));
}

#[test]
fn under_a_kind_none_the_other_keys_are_optional_and_ignored() {
    for object in [json!({"kind": "none"}), json!({"kind": "none", "heads": 0}), json!({"heads": "x", "kind": "none"})] {
        assert_eq!(accepted("/attention", object).attention, Attention::None);
    }
    for object in [json!({"kind": "none"}), json!({"kind": "none", "hidden": -1, "layers": null, "bidirectional": 7})] {
        assert_eq!(accepted("/rnn", object).rnn, Rnn::None);
    }
    assert!(refusal("/attention", json!({"kind": "none", "head": 1})).contains("unknown key `attention.head`"));
    assert!(refusal("/rnn", json!({"kind": "none", "cells": 1})).contains("unknown key `rnn.cells`"));
}

#[test]
fn values_outside_the_format_are_refused_by_name() {
    let cases = [
        ("/input/size", json!([31, 256]), "input.size[0] is 31"),
        ("/input/size", json!([256, 31]), "input.size[1] is 31"),
        ("/input/size", json!([256, 1_000_000_000]), "input.size[1] is 1000000000"),
        ("/input/size", json!([256]), "`input.size` has 1 numbers"),
        ("/input/size/0", json!(256.0), "`input.size[0]` is 256, not a whole number"),
        ("/input/size/0", json!(-1), "`input.size[0]` is -1"),
        ("/input/spacing_mm", json!(0.0), "input.spacing_mm is 0"),
        ("/input/spacing_mm", json!(-0.5), "input.spacing_mm is -0.5"),
        ("/input/spacing_mm", json!("0.5"), "`input.spacing_mm` is \"0.5\", not a number"),
        ("/input/outside_hu", json!(null), "`input.outside_hu` is null"),
        ("/input/channels", json!([]), "the number of channels is 0"),
        ("/input/channels/1/slice_offset", json!(1.5), "`input.channels[1].slice_offset` is 1.5"),
        ("/input/channels/1/slice_offset", json!(i64::MAX), "input.channels[1].slice_offset is 9223372036854775807"),
        ("/input/channels/2/window/width", json!(0.0), "input.channels[2].window.width is 0"),
        ("/input/channels/2/window/width", json!(-80), "input.channels[2].window.width is -80"),
        ("/input/mean", json!([0.0]), "input.mean has 1 values for 3 channels"),
        ("/input/std", json!([1.0, 1.0, 1.0, 1.0]), "input.std has 4 values for 3 channels"),
        ("/input/std/1", json!(0.0), "input.std[1] is 0"),
        ("/input/std/1", json!(-1.0), "input.std[1] is -1"),
        ("/backbone/kind", json!("resnet"), "`backbone.kind` is \"resnet\""),
        ("/backbone/init_features", json!(0), "backbone.init_features is 0"),
        ("/backbone/growth_rate", json!(0), "backbone.growth_rate is 0"),
        ("/backbone/growth_rate", json!(1u64 << 63), "backbone.growth_rate is 9223372036854775808"),
        ("/backbone/bn_size", json!(0), "backbone.bn_size is 0"),
        ("/backbone/bn_eps", json!(0.0), "backbone.bn_eps is 0"),
        ("/backbone/bn_eps", json!(-1e-5), "backbone.bn_eps is -0.00001"),
        ("/backbone/block_config", json!([]), "the number of blocks is 0"),
        ("/backbone/block_config", json!([1, 1, 1, 1, 1, 1, 1]), "the number of blocks is 7"),
        ("/backbone/block_config/1", json!(0), "backbone.block_config[1] is 0"),
        ("/segmentation", json!([0]), "segmentation[0] is 0"),
        ("/segmentation", json!([1, 5]), "segmentation[1] is 5"),
        ("/segmentation", json!([1, 2, 1]), "segmentation names block 1 twice"),
        ("/attention/kind", json!("max"), "`attention.kind` is \"max\""),
        ("/attention/heads", json!(0), "attention.heads is 0"),
        ("/rnn/kind", json!("rnn"), "`rnn.kind` is \"rnn\""),
        ("/rnn/hidden", json!(0), "rnn.hidden is 0"),
        ("/rnn/layers", json!(0), "rnn.layers is 0"),
        ("/rnn/bidirectional", json!(1), "`rnn.bidirectional` is 1, not true or false"),
        ("/classes", json!([]), "the number of classes is 0"),
        ("/classes", json!(["any", "any"]), "classes names `any` twice"),
        ("/classes", json!(["any", "sdh"]), "thresholds lacks the class `sdh`"),
        ("/classes", json!([""]), "classes[0]: the length of the name is 0"),
        ("/scan/rule", json!("max"), "`scan.rule` is \"max\""),
        ("/scan/n", json!(0), "scan.n is 0"),
        ("/scan", json!({"rule": "mean_top_k", "k": 0}), "scan.k is 0"),
        ("/scan", json!({"rule": "mean_top_k", "n": 3}), "lacks the key `scan.k`"),
        ("/scan", json!({"rule": "noisy_or", "n": 3}), "unknown key `scan.n`"),
        ("/thresholds", json!({"any": 0.5, "sdh": 0.5}), "thresholds names `sdh`, which is not a class"),
        ("/thresholds/any", json!(1.5), "thresholds.any is 1.5"),
        ("/thresholds/any", json!(-0.1), "thresholds.any is -0.1"),
        ("/thresholds/any", json!(true), "`thresholds.any` is true, not a number"),
    ];
    for (pointer, value, culprit) in cases {
        let message = refusal(pointer, value.clone());
        assert!(message.contains(culprit), "{pointer} = {value}: {message}");
    }
    let many: Vec<Value> = (0..17).map(|_| json!({"slice_offset": 0, "window": {"level": 0, "width": 1}})).collect();
    assert!(refusal("/input/channels", json!(many)).contains("the number of channels is 17"));
}

#[test]
fn the_ends_of_the_ranges_are_accepted() {
    accepted("/input/size", json!([32, 33]));
    accepted("/input/spacing_mm", json!(1));
    accepted("/thresholds/any", json!(0));
    accepted("/thresholds/any", json!(1));
    accepted("/segmentation", json!([]));
    accepted("/segmentation", json!([4, 1]));
    accepted("/scan", json!({"rule": "noisy_or"}));
    accepted("/scan/n", json!(usize::MAX));
}

#[test]
fn text_that_is_no_object_is_refused() {
    for (text, culprit) in [("", "not valid JSON"), ("[]", "radnet.config is a list"), ("{} x", "not valid JSON"), ("null", "is null")] {
        let error = Config::from_json(text).unwrap_err();
        assert!(error.message().contains(culprit), "{text}: {error}");
    }
    let error = Config::from_json(&" ".repeat((1 << 20) + 1)).unwrap_err();
    assert!(error.message().contains("1048577 bytes"), "{error}");
}
