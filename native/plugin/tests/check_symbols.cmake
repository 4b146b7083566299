# Fails unless LIBRARY exports what TensorRT looks up and the functions of cumo_plugin.h, and nothing else, and OBJECTS call of CUDA only what a stream that
# is being captured into a graph allows: nothing that allocates, waits or copies to the host.
#
#   cmake -DNM=nm -DLIBRARY=libcumo_plugin.so "-DOBJECTS=a.o;b.a" -P check_symbols.cmake

cmake_minimum_required(VERSION 3.22)

set(EXPORTS cumo_plugin_check_device cumo_plugin_layout_version cumo_plugin_write_rows getCreators setLoggerFinder)
set(CALLS
    cudaDeviceGetAttribute cudaFuncSetAttribute cudaGetDevice cudaGetLastError cudaLaunchKernel cudaLaunchKernelExC
    cudaPeekAtLastError
    # What nvcc adds for each kernel.
    __cudaGetKernel __cudaInitModule __cudaLaunchKernel __cudaPopCallConfiguration __cudaPushCallConfiguration
    __cudaRegisterFatBinary __cudaRegisterFatBinaryEnd __cudaRegisterFunction __cudaRegisterVar
    __cudaUnregisterFatBinary)

# What nm prints.
function(read_symbols result)
    execute_process(COMMAND ${NM} ${ARGN} OUTPUT_VARIABLE text RESULT_VARIABLE status)
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "nm failed: ${NM} ${ARGN}")
    endif()
    set(${result} "${text}" PARENT_SCOPE)
endfunction()

read_symbols(text --dynamic --defined-only ${LIBRARY})
string(REGEX MATCHALL "[^ \n]+\n" exported "${text}")
list(TRANSFORM exported STRIP)
list(SORT exported)
if(NOT "${exported}" STREQUAL "${EXPORTS}")
    message(FATAL_ERROR "${LIBRARY} exports ${exported}, it must export ${EXPORTS}")
endif()

set(called "")
foreach(object ${OBJECTS})
    read_symbols(text --undefined-only ${object})
    string(REGEX MATCHALL " U [^ \n]+" lines "${text}")
    foreach(line ${lines})
        string(SUBSTRING "${line}" 3 -1 name)
        if(name MATCHES "^(__)?(cuda|cu[A-Z])")
            list(APPEND called ${name})
            if(NOT name IN_LIST CALLS)
                message(SEND_ERROR "${object} calls ${name}, which a stream under capture may not allow")
            endif()
        endif()
    endforeach()
endforeach()
list(REMOVE_DUPLICATES called)
message(STATUS "exports ${exported}; calls of CUDA: ${called}")
