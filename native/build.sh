#!/bin/sh
# Builds the native libraries of CuMo Edge (TensorRT's shim and the plugin CumoMoE) on the machine
# that they are to run on, from the sources beside this script, and installs them where `cumo` looks.
set -eu

usage() {
    cat <<'TEXT'
Usage: build.sh [options]

Builds the shim and the plugin for the TensorRT that is installed, with the CUDA that is installed.

  --cuda DIR           CUDA, a folder with bin/nvcc [default: $CUDA_HOME, /usr/local/cuda, that of
                       the nvcc on the path]
  --tensorrt DIR       the folder of NvInfer.h and NvOnnxParser.h [default: where packages put them]
  --architectures LIST compute capabilities, for example 87 or 87;110
                       [default: this machine's, or else all that nvcc knows of 80 90 100 110 120]
  --prefix DIR         install below DIR/lib/cumo-edge [default: /usr/local]
  --build DIR          build in DIR and keep it [default: a temporary folder]
  --jobs N             compile so many files at a time; each takes up to 1 GB [default: 2]
  --test               run the kernels' cases on the GPU before installing
  --dry-run            print the commands instead of running them
  --help               print this

On a Jetson: sudo apt install nvidia-jetpack cmake g++, then sudo sh build.sh
TEXT
}

fail() {
    printf 'build.sh: %s\n' "$1" >&2
    exit 1
}

# A word as it would be typed.
quoted() {
    case $1 in
        '' | *[!A-Za-z0-9_./:=,+-]*) printf "'%s'" "$1" ;;
        *) printf '%s' "$1" ;;
    esac
}

run() {
    printf '$'
    for word; do printf ' %s' "$(quoted "$word")"; done
    printf '\n'
    [ "$dry_run" = yes ] || "$@"
}

# An absolute path; the folder need not be there.
absolute() {
    case $1 in
        /*) printf '%s\n' "$1" ;;
        *) printf '%s/%s\n' "$PWD" "$1" ;;
    esac
}

cuda='' headers='' architectures='' prefix=/usr/local build='' jobs=2 dry_run=no test=no
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --dry-run) dry_run=yes; shift; continue ;;
        --test) test=yes; shift; continue ;;
        --cuda | --tensorrt | --architectures | --prefix | --build | --jobs) ;;
        *) fail "no option $1; --help lists them" ;;
    esac
    [ $# -ge 2 ] || fail "$1 needs a value"
    case $1 in
        --cuda) cuda=$(absolute "$2") ;;
        --tensorrt) headers=$(absolute "$2") ;;
        --architectures) architectures=$2 ;;
        --prefix) prefix=$(absolute "$2") ;;
        --build) build=$(absolute "$2") ;;
        --jobs) jobs=$2 ;;
    esac
    shift 2
done
case $jobs in '' | *[!0-9]* | 0) fail "--jobs takes a number, not \`$jobs\`" ;; esac

source=$(cd "$(dirname "$0")" && pwd -P)
[ -f "$source/CMakeLists.txt" ] || fail "$source has no CMakeLists.txt: the sources belong beside this script"

# Tools.
if [ -n "$cuda" ]; then
    [ -x "$cuda/bin/nvcc" ] || fail "$cuda has no bin/nvcc: --cuda takes the folder of a whole CUDA"
else
    on_path=$(command -v nvcc || true)
    [ -z "$on_path" ] || on_path=$(dirname "$(dirname "$(readlink -f "$on_path")")")
    for folder in "${CUDA_HOME:-}" /usr/local/cuda "$on_path"; do
        [ -n "$folder" ] && [ -x "$folder/bin/nvcc" ] && cuda=$folder && break
    done
fi
[ -n "$cuda" ] ||
    fail 'no CUDA compiler; on a Jetson: sudo apt install nvidia-jetpack; else name it with --cuda DIR'
command -v cmake > /dev/null || fail 'no cmake: sudo apt install cmake g++'
command -v "${CXX:-c++}" > /dev/null || fail "no C++ compiler (${CXX:-c++}): sudo apt install g++"
generator='Unix Makefiles'
if command -v ninja > /dev/null; then generator=Ninja; else command -v make > /dev/null || fail 'no make: sudo apt install make'; fi

# Whether the libraries can be put in their place is known now, not after they were built.
place=$prefix/lib/cumo-edge
if [ "$dry_run" = no ]; then
    there=$place
    while [ ! -e "$there" ]; do there=$(dirname "$there"); done
    [ -d "$there" ] || fail "$there is no folder, so that nothing can be installed in $place"
    [ -w "$there" ] || fail "$there cannot be written to: run this with sudo, or install elsewhere with --prefix DIR"
fi

# TensorRT: the headers, and by them its major version, which is the shim's flavour.
if [ -z "$headers" ]; then
    for folder in "/usr/include/$(uname -m)-linux-gnu" /usr/include; do
        [ -f "$folder/NvOnnxParser.h" ] && headers=$folder && break
    done
fi
[ -n "$headers" ] && [ -f "$headers/NvOnnxParser.h" ] ||
    fail "no TensorRT headers (NvOnnxParser.h); on a Jetson: sudo apt install nvidia-jetpack; else --tensorrt DIR"
for header in NvInfer.h NvInferVersion.h; do
    [ -f "$headers/$header" ] || fail "$headers has no $header beside NvOnnxParser.h: TensorRT's headers are not whole"
done
defined() {
    sed -n "s/^#define \($1\) \([0-9][0-9]*\).*/\2/p" "$headers/NvInferVersion.h" | head -n 1
}
major=$(defined 'TRT_MAJOR_ENTERPRISE\|NV_TENSORRT_MAJOR')
minor=$(defined 'TRT_MINOR_ENTERPRISE\|NV_TENSORRT_MINOR')
flavour=$major
grep -q 'TRT_MAJOR_RTX' "$headers/NvInferVersion.h" && ! grep -q 'TRT_MAJOR_ENTERPRISE' "$headers/NvInferVersion.h" && flavour=rtx
old="$headers is of TensorRT $major.$minor, and 10.3 is the oldest that will do; on a Jetson: JetPack 6.1 or later"
case $flavour in
    rtx | 11) ;;
    10) [ "${minor:-0}" -ge 3 ] || fail "$old" ;;
    [1-9]) fail "$old" ;;
    *) fail "$headers is of TensorRT \`$flavour\`; 10.3 and later, 11 and RTX are known" ;;
esac

# The GPU: by the board, or by the driver.
if [ -z "$architectures" ]; then
    board=''
    [ ! -r /proc/device-tree/compatible ] || board=$(tr '\0' ' ' < /proc/device-tree/compatible)
    case $board in
        *nvidia,tegra234*) architectures=87 ;;
        *nvidia,tegra264*) architectures=110 ;;
    esac
fi
if [ -z "$architectures" ] && command -v nvidia-smi > /dev/null; then
    architectures=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null |
        sed -n 's/^\([0-9]*\)\.\([0-9]\)$/\1\2/p' | sort -un | paste -sd ';' -)
fi
known=$("$cuda/bin/nvcc" --list-gpu-code | tr '\n' ' ')
[ -n "$known" ] || fail "$cuda/bin/nvcc does not run"
knows() {
    case " $known" in *" sm_$1 "*) true ;; *) false ;; esac
}
if [ -z "$architectures" ]; then
    for code in 80 90 100 110 120; do
        ! knows "$code" || architectures=${architectures:+$architectures;}$code
    done
fi
for code in $(printf '%s' "$architectures" | tr ';' ' '); do
    knows "$code" || fail "$cuda/bin/nvcc does not compile for $code; it knows: $known"
done

# A folder that another version of the sources was built in, or with other tools, cannot be built on.
cached() {
    sed -n "s/^CMAKE_$1:INTERNAL=//p" "$build/CMakeCache.txt"
}
if [ -n "$build" ] && [ -f "$build/CMakeCache.txt" ]; then
    [ "$(cached HOME_DIRECTORY)" = "$source" ] || fail "$build was made from $(cached HOME_DIRECTORY): remove it, or name another folder"
    [ "$(cached GENERATOR)" = "$generator" ] || fail "$build was made with $(cached GENERATOR), not $generator: remove it, or name another folder"
fi

temporary='' installing=''
trap 'rm -rf ${temporary:+"$temporary"} ${installing:+"$installing"}' EXIT
trap 'exit 130' INT TERM HUP PIPE
if [ -z "$build" ]; then
    temporary=$(mktemp -d "${TMPDIR:-/var/tmp}/cumo-edge.XXXXXX")
    build=$temporary
fi
printf 'CUDA %s\nTensorRT headers %s (flavour %s)\ncompute capabilities %s\n' "$cuda" "$headers" "$flavour" "$architectures"

run cmake -S "$source" -B "$build" -G "$generator" -DCMAKE_BUILD_TYPE=Release \
    -DCUMO_KERNELS=ON -DCUMO_EMULATION=OFF "-DCUMO_CUDA_DIR=$cuda" \
    "-DCUMO_CUDA_ARCHITECTURES=$architectures" -DCUMO_TRT_10_INCLUDE= -DCUMO_TRT_11_INCLUDE= \
    -DCUMO_TRT_rtx_INCLUDE= "-DCUMO_TRT_${flavour}_INCLUDE=$headers"
run cmake --build "$build" --parallel "$jobs" --target "cumo_trt_$flavour" "cumo_plugin_$flavour"
if [ "$test" = yes ]; then
    run cmake --build "$build" --parallel "$jobs" --target device_test
    run "$build/kernels/device_test" "$source/emulation/cases.txt"
fi
# Both are copied before one is put in its place: what can fail has then been done.
shim=libcumo_trt_$flavour.so
installing=$place/.installing
run rm -rf "$installing"
run install -D -m 644 "$build/shim/$shim" "$installing/$shim"
run install -D -m 644 "$build/plugin/$flavour/libcumo_plugin.so" "$installing/libcumo_plugin.so"
run mkdir -p "$place/$flavour"
run mv -f "$installing/libcumo_plugin.so" "$place/$flavour/libcumo_plugin.so"
run mv -f "$installing/$shim" "$place/$shim"
run rm -rf "$installing"
if [ "$dry_run" = yes ]; then
    echo 'dry run: nothing was built or installed'
else
    echo "installed in $place; cumo doctor tells whether it is found"
fi
