# bash completion of waldump

_waldump()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local commands='verify ls dump tail get stat explain hex diff export import repair meta snapshot format help'
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$word")
        return
    fi
    if [ "$word" = = ]; then # --view=, cut in two by COMP_WORDBREAKS
        word=
    elif [ "$before" = = ]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if [ "$COMP_CWORD" -eq 2 ] && [ "${COMP_WORDS[1]}" = help ]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word")
        return
    fi
    case $before in
        --type) mapfile -t COMPREPLY < <(compgen -W 'list' -- "$word"); return ;;
        --view) mapfile -t COMPREPLY < <(compgen -W 'log physical' -- "$word"); return ;;
        --payload)
            local forms='len hex text base64 none'
            [ "${COMP_WORDS[1]}" = hex ] && forms='len hex none'
            mapfile -t COMPREPLY < <(compgen -W "$forms" -- "$word")
            return
            ;;
        --by) mapfile -t COMPREPLY < <(compgen -W 'type size segment' -- "$word"); return ;;
        --format) mapfile -t COMPREPLY < <(compgen -W 'text json csv' -- "$word"); return ;;
        --progress | --color) mapfile -t COMPREPLY < <(compgen -W 'auto always never' -- "$word"); return ;;
        --backup) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
    esac
    case $word in
        -*)
            local options
            options=$(waldump help "${COMP_WORDS[1]}" 2>/dev/null | sed -n 's/^  \(-., \|    \)\(--[a-z-]*\).*/\2/p')
            mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
            ;;
        *) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    esac
}
complete -o filenames -F _waldump waldump
