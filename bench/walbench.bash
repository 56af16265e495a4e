# bash completion of walbench

_walbench()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local commands='sync append recover peers raft compare plot probe explain help'
    if [ "$word" = = ]; then # --layout=, cut in two by COMP_WORDBREAKS
        word=
    elif [ "$before" = = ]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $before in
        --method | -m) mapfile -t COMPREPLY < <(compgen -W 'none fdatasync fsync o_dsync rwf_dsync uring-linked uring-dsync' -- "$word"); return ;;
        --layout | -l) mapfile -t COMPREPLY < <(compgen -W 'append fallocated zeroed recycled' -- "$word"); return ;;
        --direct) mapfile -t COMPREPLY < <(compgen -W 'both direct buffered' -- "$word"); return ;;
        --engine) mapfile -t COMPREPLY < <(compgen -W 'auto posix uring' -- "$word"); return ;;
        --profile) mapfile -t COMPREPLY < <(compgen -W 'etcd postgres sqlite mysql redis raftcore' -- "$word"); return ;;
        --emulate) mapfile -t COMPREPLY < <(compgen -W 'hdd cloud ssd nvme' -- "$word"); return ;;
        --format) mapfile -t COMPREPLY < <(compgen -W 'text md csv json' -- "$word"); return ;;
        --stat) mapfile -t COMPREPLY < <(compgen -W 'p50 p90 p99 p999 p9999 min mean max rate records_per_sync' -- "$word"); return ;;
        --progress) mapfile -t COMPREPLY < <(compgen -W 'auto always never' -- "$word"); return ;;
        --output | -o) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    esac
    case $word in
        -*)
            local options
            options=$(walbench --help 2>/dev/null | grep -o -- '--[a-z-]*' | sort -u)
            mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
            ;;
        *)
            local first=
            [ "$COMP_CWORD" -eq 1 ] && first="$commands"
            mapfile -t COMPREPLY < <(compgen -W "$first" -- "$word"; compgen -f -- "$word")
            ;;
    esac
}
complete -o filenames -F _walbench walbench
