use super::*;

#[test]
fn ids_are_unique_and_every_device_has_modes() {
    let mut ids: Vec<String> = Device::all().iter().map(|device| plain(&device.id)).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
    for device in Device::all() {
        assert!(!device.modes.is_empty() && device.system_bytes < device.visible_bytes);
        assert!(device.visible_bytes as f64 <= device.memory_gb * 1.024 * (1_u64 << 30) as f64);
        let most = device.modes.iter().map(|mode| mode.f16_tflops).fold(0.0, f64::max);
        assert!(device.modes.iter().all(|mode| mode.f16_tflops > 0.0 && mode.f16_tflops <= most));
    }
}

#[test]
fn clocks_of_a_mode_scale_the_rates() {
    let device = Device::by_id("orin-nano-8gb-super").unwrap();
    let [default, low, full] = device.modes.as_slice() else { panic!("three modes") };
    assert_eq!((default.name.as_str(), default.watts), ("25W", Some(25.0)));
    assert_eq!(default.bandwidth_gbs, 102.0);
    assert!((default.f16_tflops - 15.3).abs() < 0.01);
    assert!((low.bandwidth_gbs - 68.0).abs() < 0.1 && (low.f16_tflops - 10.2).abs() < 0.01);
    assert_eq!((full.f16_tflops, full.watts), (17.0, None));
}

#[test]
fn the_rates_of_orin_follow_from_its_clocks() {
    // 2 multiprocessors a TPC, 1,024 multiplications and additions of f16 a clock in each.
    for row in DEVICES {
        if let Some(full) = row.full {
            let tflops = f64::from(full.tpcs * full.gpu_mhz) * 2.0 * 2048.0 / 1e6;
            assert!((tflops / row.f16_tflops - 1.0).abs() < 0.03, "{}: {tflops}", row.id);
        }
    }
}

#[test]
fn names_are_taken_in_any_spelling() {
    for name in ["RTX-4090", "rtx4090", "GeForce RTX 4090"] {
        assert_eq!(Device::by_id(name).unwrap().id, "rtx-4090");
    }
    let device = Device::by_id("agx-orin-64gb").unwrap();
    for name in ["50W", "50w", "50", "MODE_50W"] {
        assert_eq!(device.mode(Some(name)).unwrap().name, "50W");
    }
    assert_eq!(device.mode(None).unwrap().name, "30W");
}

#[test]
fn devices_are_named_once_and_no_name_is_empty() {
    let named =
        |names: &[&str]| Device::by_ids(&names.iter().map(|&it| it.into()).collect::<Vec<_>>());
    let ids = named(&["rtx-4090", "RTX 4090", "thor-t4000", "rtx-4090"]).unwrap();
    let ids: Vec<_> = ids.iter().map(|device| device.id.as_str()).collect();
    assert_eq!(ids, ["rtx-4090", "thor-t4000"]);
    let error = named(&["rtx-4090", ""]).unwrap_err().to_string();
    assert!(error.contains("a name is missing beside a comma"), "{error}");
}

#[test]
fn unknown_names_list_what_is_like_them() {
    let error = Device::by_id("orin-nano").unwrap_err().to_string();
    assert!(error.contains("did you mean orin-nano-8gb or orin-nano-8gb-super?"), "{error}");
    let error = Device::by_id("rtx-4080").unwrap_err().to_string();
    assert!(error.contains("rtx-4090"), "{error}");
    let error = Device::by_id("\u{1b}[31mtoaster").unwrap_err().to_string();
    assert!(!error.contains("did you mean") && !error.contains('\u{1b}'), "{error}");
    let error = Device::by_id("l4").unwrap().mode(Some("9W")).unwrap_err().to_string();
    assert_eq!(error, "NVIDIA L4 has no mode `9W`; it has 72W");
}

#[test]
fn systems_names_are_known_by_words_and_memory() {
    let known = |name: &str, mib: u64| Device::by_system_name(name, Some(mib << 20)).map(|d| d.id);
    let cases = [
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit", 7620, "orin-nano-8gb"),
        (
            "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
            7620,
            "orin-nano-8gb-super",
        ),
        ("NVIDIA Jetson AGX Orin Developer Kit", 62841, "agx-orin-64gb"),
        ("NVIDIA Jetson AGX Thor Developer Kit", 125_772, "thor-t5000"),
        ("NVIDIA GeForce RTX 4090", 24564, "rtx-4090"),
        ("NVIDIA H100 80GB HBM3", 81559, "h100-sxm"),
        ("NVIDIA A10", 23028, "a10"),
    ];
    for (name, mib, id) in cases {
        assert_eq!(known(name, mib).as_deref(), Some(id), "{name}");
    }
    // An Orin Nano 4GB, an A100 that is no A10, an L40, a laptop's card with less memory.
    let unknown = [
        ("NVIDIA Jetson Orin Nano Developer Kit", 3700),
        ("NVIDIA A100-PCIE-40GB", 40960),
        ("NVIDIA L40", 24000),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 16376),
    ];
    for (name, mib) in unknown {
        assert_eq!(known(name, mib), None, "{name}");
    }
    // A card's driver tells no memory without being asked for it.
    let named = |name: &str| Device::by_system_name(name, None).map(|d| d.id);
    assert_eq!(named("NVIDIA GeForce RTX 3090").as_deref(), Some("rtx-3090"));
    assert_eq!(named("NVIDIA GeForce RTX 3090 Ti"), None);
    assert_eq!(named("NVIDIA Jetson AGX Orin Developer Kit"), None);
}

#[test]
fn absurd_numbers_of_a_described_device_are_refused() {
    let good =
        CustomDevice { memory_gb: 24.0, bandwidth_gbs: 40.0, f16_tflops: 1.0, watts: Some(65.0) };
    assert_eq!(Device::custom(good).unwrap().visible_bytes, 24 << 30);
    let bad = [
        CustomDevice { memory_gb: 0.0, ..good },
        CustomDevice { bandwidth_gbs: -1.0, ..good },
        CustomDevice { f16_tflops: f64::NAN, ..good },
        CustomDevice { watts: Some(f64::INFINITY), ..good },
        CustomDevice { watts: Some(1e308), ..good },
        CustomDevice { bandwidth_gbs: 1e-300, ..good },
    ];
    for custom in bad {
        let error = Device::custom(custom).unwrap_err().to_string();
        assert!(error.len() < 80, "{error}");
        assert!(error.contains(": it must be 0.000001 to 1,000,000,000"), "{error}");
    }
}
