# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for vireo; the daemon's commands and their options come from vireo's own tables
_vireo()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i command="" uri=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -c | --connect) uri=(-c "${COMP_WORDS[i+1]}"); ((i++)) ;;
        -e | -d | -l | -k | -K) ((i++)) ;;
        -*) ;;
        *) command=${COMP_WORDS[i]}; break ;;
        esac
    done
    if [ -z "$command" ]; then
        mapfile -t COMPREPLY < <(compgen -W "run doctor --help --version --connect --readonly --quiet --timing --escape
            $(vireo help 2>/dev/null | sed -n 's/^    \([a-z0-9-]*\) .*/\1/p')" -- "$cur")
        return
    fi
    if [ "$command" = run ]; then
        for ((i = 2; i < COMP_CWORD; i++)); do
            if [ "${COMP_WORDS[i]}" = -- ]; then
                mapfile -t COMPREPLY < <(compgen -c -f -- "$cur")
                return
            fi
        done
        case $prev in
        --net) mapfile -t COMPREPLY < <(compgen -W "user none" -- "$cur") ;;
        --accel) mapfile -t COMPREPLY < <(compgen -W "auto kvm vireo" -- "$cur") ;;
        --kernel | --initrd | --disk | --rootfs) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        --share | --rw) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
        --cpus | --memory | --timeout | --append | -p) ;;
        *) mapfile -t COMPREPLY < <(compgen -W "--kernel --initrd --append --disk --cpus --memory --net -p
            --share --rw --rootfs --accel --timeout --quiet --help --" -- "$cur") ;;
        esac
        return
    fi
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(vireo help "$command" 2>/dev/null | sed -n 's/^ *\[*\(--[a-z0-9-]*\).*/\1/p')" -- "$cur")
        return
    fi
    case $command in
    net-*) mapfile -t COMPREPLY < <(compgen -W "$(vireo -q "${uri[@]}" net-list --all --name 2>/dev/null)" -- "$cur") ;;
    pool-* | vol-list) mapfile -t COMPREPLY < <(compgen -W "$(vireo -q "${uri[@]}" pool-list --all --name 2>/dev/null)" -- "$cur") ;;
    define | create | *-define | *-create) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$(vireo -q "${uri[@]}" list --all --name 2>/dev/null)" -- "$cur") ;;
    esac
}
complete -F _vireo -o default vireo
complete -c vireo-kvm
