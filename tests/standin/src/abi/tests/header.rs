//! The functions are those that `cumo-tensorrt` loads, with their types.

use super::*;

/// Gives a table of functions those of this crate, which does not compile where their types differ,
/// and their names.
macro_rules! functions {
    ($($name:ident $function:ident)*) => {
        #[allow(dead_code, reason = "is compiled, which is the test of their types")]
        fn fill(api: &mut sys::Api) {
            $(api.$name = $function;)*
        }

        const NAMES: &[&str] = &[$(stringify!($function)),*];
    };
}

functions! {
    abi_version cumo_trt_abi_version
    flavour cumo_trt_flavour
    status_code cumo_trt_status_code
    status_text cumo_trt_status_text
    status_num_parse_errors cumo_trt_status_num_parse_errors
    status_parse_error cumo_trt_status_parse_error
    status_free cumo_trt_status_free
    library_open cumo_trt_library_open
    library_version cumo_trt_library_version
    library_path cumo_trt_library_path
    library_can_build cumo_trt_library_can_build
    library_load_plugins cumo_trt_library_load_plugins
    library_free cumo_trt_library_free
    builder_create cumo_trt_builder_create
    builder_free cumo_trt_builder_free
    network_parse cumo_trt_network_parse
    network_num_tensors cumo_trt_network_num_tensors
    network_tensor cumo_trt_network_tensor
    network_num_layers cumo_trt_network_num_layers
    network_layer cumo_trt_network_layer
    network_layer_tensor cumo_trt_network_layer_tensor
    network_free cumo_trt_network_free
    network_build cumo_trt_network_build
    blob_data cumo_trt_blob_data
    blob_bytes cumo_trt_blob_bytes
    blob_free cumo_trt_blob_free
    num_devices cumo_trt_num_devices
    device_info cumo_trt_device_info
    runtime_create cumo_trt_runtime_create
    runtime_memory cumo_trt_runtime_memory
    runtime_free cumo_trt_runtime_free
    engine_check cumo_trt_engine_check
    engine_load cumo_trt_engine_load
    engine_num_tensors cumo_trt_engine_num_tensors
    engine_tensor cumo_trt_engine_tensor
    engine_num_profiles cumo_trt_engine_num_profiles
    engine_profile cumo_trt_engine_profile
    engine_aliased_input cumo_trt_engine_aliased_input
    engine_activation_bytes cumo_trt_engine_activation_bytes
    engine_inspect cumo_trt_engine_inspect
    engine_load_compiled_kernels cumo_trt_engine_load_compiled_kernels
    runtime_compiled_kernels cumo_trt_runtime_compiled_kernels
    engine_free cumo_trt_engine_free
    context_create cumo_trt_context_create
    context_set_memory cumo_trt_context_set_memory
    context_set_profile cumo_trt_context_set_profile
    context_set_shape cumo_trt_context_set_shape
    context_shape cumo_trt_context_shape
    context_set_address cumo_trt_context_set_address
    context_activation_bytes cumo_trt_context_activation_bytes
    context_enqueue cumo_trt_context_enqueue
    context_free cumo_trt_context_free
    buffer_alloc cumo_trt_buffer_alloc
    buffer_free cumo_trt_buffer_free
    host_alloc cumo_trt_host_alloc
    host_free cumo_trt_host_free
    host_register cumo_trt_host_register
    host_unregister cumo_trt_host_unregister
    copy_to_device cumo_trt_copy_to_device
    copy_to_host cumo_trt_copy_to_host
    copy_on_device cumo_trt_copy_on_device
    copy_rows_on_device cumo_trt_copy_rows_on_device
    fill cumo_trt_fill
    stream_create cumo_trt_stream_create
    stream_synchronize cumo_trt_stream_synchronize
    stream_wait cumo_trt_stream_wait
    stream_free cumo_trt_stream_free
    event_create cumo_trt_event_create
    event_record cumo_trt_event_record
    event_synchronize cumo_trt_event_synchronize
    event_elapsed cumo_trt_event_elapsed
    event_free cumo_trt_event_free
    graph_begin cumo_trt_graph_begin
    graph_end cumo_trt_graph_end
    graph_launch cumo_trt_graph_launch
    graph_free cumo_trt_graph_free
    kernels_load cumo_trt_kernels_load
    kernels_write_rows cumo_trt_kernels_write_rows
    kernels_free cumo_trt_kernels_free
}

#[test]
fn every_function_of_the_header_is_there() {
    let header = include_str!("../../../../../native/shim/include/cumo_trt.h");
    let names = header.split("cumo_trt_").skip(1).filter_map(|rest| {
        let (name, parameters) = rest.split_once('(')?;
        let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        (is_name && !parameters.starts_with('*')).then(|| format!("cumo_trt_{name}"))
    });
    let declared: std::collections::BTreeSet<String> = names.collect();
    let ours = NAMES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(declared, ours);
}
