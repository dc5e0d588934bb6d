#!/bin/bash
# Runs everything that needs a GPU on a machine that has one and no network: the tests marked `gpu`
# and benchmarks/gpu.py. That machine brings Python, PyTorch with CUDA, nvcc and g++; the rest is
# carried there as wheels.
#
#   benchmarks/gpu_machine.sh wheels [3.12]      here, with network: wheels/1, wheels/2, ... (each
#                                                below 60 MiB) for that version of Python;
#                                                HAVE="numpy scipy" leaves out what is there
#   benchmarks/gpu_machine.sh install wheels/1   there, once for each folder: into .gpu-packages
#   benchmarks/gpu_machine.sh compile            there: the doctor, which compiles gsplat
#   benchmarks/gpu_machine.sh test               there: pytest -m gpu
#   benchmarks/gpu_machine.sh bench [OPTION]...  there: benchmarks/gpu.py with these options
#
# Results go to $OUT, where that is set, else to benchmarks/results.
set -euo pipefail
cd "$(dirname "$0")/.."

# What training, its tests and the benchmark import beside PyTorch, and what that needs.
PACKAGES="annotated-types gsplat iniconfig jaxtyping llvmlite markdown-it-py mdurl ninja numba numpy
packaging pillow pluggy pycolmap pydantic pydantic-core pygments pytest rich safetensors scipy tqdm
typing-inspection wadler-lindig"
MOST=$((60 << 20)) # bytes of one folder
SITE=$PWD/.gpu-packages # no environment: that machine may have no venv, and its PyTorch is wanted
OUT=${OUT:-benchmarks/results}

pinned() { # the lock's version of every package
    for name in $PACKAGES; do
        [[ " ${HAVE:-} " == *" $name "* ]] && continue
        grep -E "^$name==" requirements-dev.lock | sed 's/[ ;\\].*//'
    done
}

wheels() {
    local version=$1 all=wheels/all part=1 filled=0 size
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
    # The largest first, so that no folder exceeds what is carried at once.
    while read -r size file; do
        if ((filled > 0 && filled + size > MOST)); then
            part=$((part + 1)) filled=0
        fi
        mkdir -p "wheels/$part"
        mv "$file" "wheels/$part/"
        filled=$((filled + size))
    done < <(find "$all" -name '*.whl' -printf '%s %p\n' | sort -rn)
    rmdir "$all"
    du -sm wheels/*
}

install() {
    python3 -m pip install --quiet --no-index --no-deps --upgrade --target "$SITE" "$1"/*.whl
}

with_packages() {
    PYTHONPATH="$SITE${PYTHONPATH:+:$PYTHONPATH}" PATH="$SITE/bin:$PATH" python3 "$@"
}

case "${1:-}" in
wheels) wheels "${2:-3.12}" ;;
install) install "$2" ;;
compile) with_packages -m gradiseg_core.doctor ;;
test)
    mkdir -p "$OUT"
    # Only the files that hold such tests: the others import what is not carried.
    mapfile -t files < <(grep -rlE 'mark\.gpu|triton_device' tests --include='test_*.py' | sort)
    with_packages -m pytest -m gpu -q -rfEs --durations=10 "${files[@]}" 2>&1 | tee "$OUT/gpu_tests.txt"
    ;;
bench) with_packages benchmarks/gpu.py --out "$OUT" "${@:2}" ;;
*)
    sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'
    exit 2
    ;;
esac
