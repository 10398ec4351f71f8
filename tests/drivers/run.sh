#!/bin/bash
# Checks every kernel on three drivers and prints the results side by side:
#   tests/drivers/run.sh target/release/parr FOLDER
#
# The drivers are llvmpipe of this system, llvmpipe of a newer Mesa, and SwiftShader. The last two come from Debian's
# archive into FOLDER; nothing is installed. A driver that cannot be fetched is reported and left out.
set -euo pipefail

parr=$(realpath "$1")
mkdir -p "$2"
folder=$(realpath "$2")
# A driver that compiles on a busy machine is slow, not lost.
export NODEVICE_SELECT=1 PARR_GPU_TIMEOUT=300

# apt with lists and a cache of its own, so that the system's sources stay as they are.
private_apt() {
    apt-get -qq -o APT::Sandbox::User=root -o Dir::Etc::SourceList="$folder/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$folder/apt/lists" -o Dir::Cache="$folder/apt/cache" "$@"
}

# fetch NAME SUITE PACKAGE...: extracts Debian packages into FOLDER/NAME.
fetch() {
    local name=$1 suite=$2 keys=/usr/share/keyrings/debian-archive-keyring.gpg
    shift 2
    [ -e "$folder/$name/usr" ] && return
    mkdir -p "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial" "$folder/$name/debs"
    {
        printf "deb [signed-by=$keys] http://deb.debian.org/debian %s main\n" bookworm bookworm-backports
        echo "deb [signed-by=$keys] http://deb.debian.org/debian-security bookworm-security main"
    } > "$folder/apt/sources.list"
    private_apt update && (cd "$folder/$name/debs" && private_apt -t "$suite" download "$@") || return
    for deb in "$folder/$name/debs"/*.deb; do
        dpkg-deb -x "$deb" "$folder/$name" || return
    done
}

# check NAME ICD [LIBRARIES]: runs all checks with the driver that the file ICD describes.
check() {
    local name=$1 icd=$2 libraries=${3:-}
    echo "== $name"
    if ! PARR_CACHE="$folder/$name/cache" VK_DRIVER_FILES="$icd" VK_ICD_FILENAMES="$icd" \
        LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" \
        "$parr" doctor --full --json > "$folder/$name.json"; then
        echo "$name: a check failed, or the driver gave no device"
    fi
    [ -s "$folder/$name.json" ] && reports+=("$folder/$name.json") || rm -f "$folder/$name.json"
}

# with_path ICD LIBRARY: a copy of the driver's description with an absolute path, as the package is not installed.
with_path() {
    sed "s|\"library_path\": *\"[^\"]*\"|\"library_path\": \"$2\"|" "$1" > "$folder/$(basename "$1")"
    echo "$folder/$(basename "$1")"
}

reports=()
system=$(ls /usr/share/vulkan/icd.d/lvp_icd*.json 2> /dev/null | head -1 || true)
if [ -n "$system" ]; then
    mkdir -p "$folder/llvmpipe"
    check llvmpipe "$system"
fi
if fetch mesa bookworm-backports mesa-vulkan-drivers mesa-libgallium; then
    library=$(find "$folder/mesa/usr/lib" -name 'libvulkan_lvp.so' | head -1)
    icd=$(with_path "$(find "$folder/mesa/usr/share" -name 'lvp_icd*.json' | head -1)" "$library")
    check mesa "$icd" "$(dirname "$library")"
else
    echo "mesa: left out, the packages could not be fetched"
fi
if fetch swiftshader bookworm-security chromium-common; then
    library=$(find "$folder/swiftshader/usr/lib" -name 'libvk_swiftshader.so' | head -1)
    icd=$(with_path "$(find "$folder/swiftshader/usr/lib" -name 'vk_swiftshader_icd.json' | head -1)" "$library")
    check swiftshader "$icd"
else
    echo "swiftshader: left out, the package could not be fetched"
fi
[ ${#reports[@]} -gt 0 ] || { echo "no driver ran"; exit 1; }
"$parr" doctor --html "$folder/drivers.html" "${reports[@]}"
