#!/bin/bash
# Runs everything that needs a GPU on a machine that has one and no network: the tests marked `gpu`
# and benchmarks/gpu.py. That machine brings Python, PyTorch with CUDA, nvcc, g++ and what is usual
# beside them (numpy, numba, pytest, ...); the rest is carried there as wheels.
#
#   benchmarks/gpu_machine.sh pack [3.12]         here, with network: wheels/1 (and 2, ...) for that
#                                                 version of Python, each small enough to travel with
#                                                 the tree; ALL=1 brings what is usual as well
#   benchmarks/gpu_machine.sh first               there: install, compile, test, below 10 minutes
#   benchmarks/gpu_machine.sh bench [OPTION]...   there: benchmarks/gpu.py, below 10 minutes
#
# Steps of `first`, for one part at a time: install, compile, test. Results go to $OUT as they come,
# where that is set, else to benchmarks/results: doctor.txt, gpu_tests.txt, gpu.json, gpu.md, and
# kernels.tgz, which spares a fresh machine the compiler where it is laid into wheels/.
set -euo pipefail
cd "$(dirname "$0")/.."

# What training, its tests and the benchmark import beside PyTorch, and what that needs in turn.
MISSING="annotated-types gsplat pycolmap pydantic pydantic-core typing-extensions typing-inspection"
USUAL="iniconfig jaxtyping llvmlite markdown-it-py mdurl ninja numba numpy packaging pillow pluggy
pygments pytest rich safetensors scipy tqdm wadler-lindig"
IMPORTS="PIL gsplat jaxtyping numba numpy pycolmap pydantic pytest rich safetensors scipy torch tqdm
triton"
TRAVELS=$((62 << 20)) # bytes of tree and one folder together, of 64 MiB that are carried at once
MOST=$((58 << 20))    # bytes of one folder
LIMIT=${LIMIT:-570}   # seconds of one command, of 10 minutes
SITE=$PWD/.gpu-packages # no environment: that machine may have no venv, and its PyTorch is wanted
OUT=${OUT:-benchmarks/results}
export TORCH_EXTENSIONS_DIR=$PWD/.gpu-kernels PYTHONUNBUFFERED=1

pinned() { # the lock's version of every package
    local names=$MISSING
    [[ -n ${ALL:-} ]] && names+=" $USUAL"
    for name in $names; do
        grep -E "^$name==" requirements-dev.lock | sed 's/[ ;\\].*//'
    done
}

pack() {
    local version=$1 all=wheels/all part=1 filled=0 size most tree
    rm -rf wheels
    mkdir -p "$all"
    local platforms=()
    for glibc in 2014 _2_17 _2_24 _2_27 _2_28; do
        platforms+=(--platform "manylinux${glibc}_x86_64")
    done
    # shellcheck disable=SC2046
    "${PYTHON:-.venv/bin/python}" -m pip download --quiet --no-deps --only-binary=:all: \
        --python-version "$version" --implementation cp --abi "cp${version/./}" --abi abi3 \
        --abi none "${platforms[@]}" --dest "$all" $(pinned)
    tree=$(git ls-files -z | xargs -0 du -cb | tail -1 | cut -f1)
    most=$((TRAVELS - tree < MOST ? TRAVELS - tree : MOST))
    # The largest first, so that no folder exceeds what is carried at once.
    while read -r size file; do
        if ((size > most)); then
            echo "$file has $size bytes; with the tree's $tree it cannot travel" >&2
            exit 1
        fi
        if ((filled > 0 && filled + size > most)); then
            part=$((part + 1)) filled=0
        fi
        mkdir -p "wheels/$part"
        mv "$file" "wheels/$part/"
        filled=$((filled + size))
    done < <(find "$all" -name '*.whl' -printf '%s %p\n' | sort -rn)
    rmdir "$all"
    echo "the tree has $((tree >> 10)) KiB, and goes along with each of"
    du -sk --apparent-size wheels/*
}

with_packages() {
    PYTHONPATH="$SITE${PYTHONPATH:+:$PYTHONPATH}" PATH="$SITE/bin:$PATH" python3 "$@"
}

install() { # whatever parts were carried; the second time it is done already
    local files=(wheels/*/*.whl)
    if [[ -e ${files[0]} && ! -e $SITE/.done-${#files[@]} ]]; then
        python3 -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --upgrade \
            --target "$SITE" "${files[@]}"
        touch "$SITE/.done-${#files[@]}"
    fi
    if [[ -e wheels/kernels.tgz && ! -e $TORCH_EXTENSIONS_DIR ]]; then
        tar xzf wheels/kernels.tgz
    fi
    # shellcheck disable=SC2086
    with_packages -c '
import importlib.util, sys
missing = [name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]
if missing:
    sys.exit("missing here: " + ", ".join(missing) + "; pack them too (ALL=1), carry every wheels/N")
' $IMPORTS
}

compile() { # the doctor; what it made is kept for machines to come
    mkdir -p "$OUT"
    with_packages -m gradiseg_core doctor 2>&1 | tee "$OUT/doctor.txt"
    if compgen -G "$TORCH_EXTENSIONS_DIR/gradiseg/*/*.so" >/dev/null; then
        tar czf "$OUT/kernels.tgz" "$(basename "$TORCH_EXTENSIONS_DIR")"
    fi
}

run_tests() {
    mkdir -p "$OUT"
    # Only the files that hold such tests: the others import what is not carried. What matters most
    # comes first, as time may run out.
    local files=()
    mapfile -t files < <(
        for folder in tests/splatting/rasterization tests/stages/training tests; do
            grep -rlE 'mark\.gpu|triton_device' "$folder" --include='test_*.py' | sort
        done | awk '!seen[$0]++'
    )
    local rest=$((LIMIT - SECONDS)) status=0
    ((rest > 0)) || rest=1 # 0 is no limit for `timeout`
    echo "tests, $rest s"
    PYTHONPATH="$SITE${PYTHONPATH:+:$PYTHONPATH}" PATH="$SITE/bin:$PATH" timeout "$rest" python3 \
        -m pytest -m gpu -v -rfEs --durations=10 "${files[@]}" 2>&1 | tee "$OUT/gpu_tests.txt" ||
        status=$?
    if ((status == 124)); then
        echo "time is up; $OUT/gpu_tests.txt has what ran, \`$0 test\` runs all again" >&2
    fi
    return "$status"
}

case "${1:-}" in
pack) pack "${2:-3.12}" ;;
install) install ;;
compile) compile ;;
test) run_tests ;;
first)
    install
    compile
    run_tests
    ;;
bench)
    install
    compile
    # Every part is written when it is measured; none starts in the last 90 seconds.
    with_packages benchmarks/gpu.py --out "$OUT" --seconds $((LIMIT - SECONDS - 90)) "${@:2}"
    ;;
*)
    sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'
    exit 2
    ;;
esac
