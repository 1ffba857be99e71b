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
