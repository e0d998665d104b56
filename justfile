# Every task of this repository; `./justw X` fetches the tools and runs `just X`.
# A recipe holds no logic that is not about building: what is tested is in the crates.

set shell := ["bash", "-euo", "pipefail", "-c"]

[private]
default:
    @{{ just_executable() }} --list --unsorted
