# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for vireo-img
_vireo_img()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local formats="raw qcow2 qcow qed vmdk vdi vhdx vpc parallels luks"
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "amend bench bitmap check commit compare convert create dd info map
            measure rebase resize snapshot --help --version" -- "$cur")
        return
    fi
    case $prev in
    -f | -O | -F) mapfile -t COMPREPLY < <(compgen -W "$formats" -- "$cur") ;;
    -t | -T) mapfile -t COMPREPLY < <(compgen -W "none writeback writethrough directsync unsafe" -- "$cur") ;;
    -r) mapfile -t COMPREPLY < <(compgen -W "leaks all" -- "$cur") ;;
    *) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    esac
}
complete -F _vireo_img vireo-img
complete -f vireo-io

_vireo_nbd()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    case $prev in
    -f | --format) mapfile -t COMPREPLY < <(compgen -W "raw qcow2 qcow qed vmdk vdi vhdx vpc parallels luks" -- "$cur") ;;
    --cache) mapfile -t COMPREPLY < <(compgen -W "none writeback writethrough directsync unsafe" -- "$cur") ;;
    --discard) mapfile -t COMPREPLY < <(compgen -W "ignore unmap" -- "$cur") ;;
    --detect-zeroes) mapfile -t COMPREPLY < <(compgen -W "off on unmap" -- "$cur") ;;
    *)
        case $cur in
        -*) mapfile -t COMPREPLY < <(compgen -W "--help --version --port --bind --socket --shared --persistent
            --export-name --description --verbose --offset --allocation-depth --bitmap --export --list --object
            --tls-creds --tls-hostname --fork --pid-file --trace --format --read-only --snapshot --load-snapshot
            --nocache --cache --aio --discard --detect-zeroes --image-opts" -- "$cur") ;;
        *) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        esac
        ;;
    esac
}
complete -F _vireo_nbd vireo-nbd
