#!/usr/bin/env bash
# Runs static x86-64 Linux programs on an emulated processor with AVX-512: packs them into an initramfs, boots it with a Debian kernel
# in Bochs, reads their output from the serial console and reports every exit code. See README.md.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: run.sh [options] -- PROGRAM [ARG...] [-- PROGRAM [ARG...]]...
  -f HOST[:GUEST]  put a file or folder into the guest (default: at /data/NAME); repeatable
  -e NAME=VALUE    set an environment variable in the guest; repeatable
  -c MODEL         Bochs' processor model (corei7_skylake_x)
  -m MB            guest memory (1024)
  -t SECONDS       give up after this time (1800)
  -o FOLDER        keep console.txt, bochs.log and each job's output, N.txt, here (default: a new temporary folder)
  -v               let the guest's kernel speak on the console
Each PROGRAM is a file of the host; arguments name files of the guest. The status is 0 when every program exited with 0,
1 when one did not, 2 when the machine could not be built or did not come to its end.
RADNET_BOCHS names another Bochs than Debian's, a program built without the debugger and with the display `nogui`.
TEXT
}

die() {
    echo "run.sh: $*" >&2
    exit 2
}

bochs=${RADNET_BOCHS:-bochs-bin}
packages="bochs bochs-term bochsbios vgabios xorriso isolinux syslinux-common cpio busybox-static file"
isolinux=/usr/lib/ISOLINUX/isolinux.bin
ldlinux=/usr/lib/syslinux/modules/bios/ldlinux.c32
bios=/usr/share/bochs/BIOS-bochs-latest
vga_bios=/usr/share/vgabios/vgabios.bin

need_tools() {
    local item
    for item in "$bochs" xorriso cpio script busybox file; do
        command -v "$item" > /dev/null || die "$item is missing: apt-get install $packages"
    done
    for item in $isolinux $ldlinux $bios $vga_bios; do
        [ -f "$item" ] || die "$item is missing: apt-get install $packages"
    done
    is_static "$(command -v busybox)" || die "busybox is not the static one: apt-get install busybox-static"
}

is_static() { file -L "$1" | grep -Eq 'statically linked|static-pie linked'; }

# Prints the path of a Debian kernel, which is unpacked into the cache and not installed. RADNET_AVX512_KERNEL names another bzImage.
find_kernel() {
    if [ -n "${RADNET_AVX512_KERNEL:-}" ]; then
        echo "$RADNET_AVX512_KERNEL"
        return
    fi
    local folder=$cache/kernel package
    if ! compgen -G "$folder/boot/vmlinuz-*" > /dev/null; then
        package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
        [ -n "$package" ] || die "apt knows no linux-image-cloud-amd64"
        mkdir -p "$folder"
        (cd "$folder" && apt-get -qq download "$package" && dpkg -x "$package"_*.deb . && rm -r "$package"_*.deb lib usr) >&2 \
            || die "the kernel package $package could not be unpacked"
    fi
    compgen -G "$folder/boot/vmlinuz-*" | tail -n 1
}

# The guest's file system, apart from the programs.
lay_guest() {
    mkdir -p "$guest"/{bin,dev,proc,sys,tmp,jobs,programs,data}
    cp "$(readlink -f "$(command -v busybox)")" "$guest/bin/busybox"
    install -m 755 "$here/init" "$guest/init"
    local entry from to
    for entry in "${environment[@]}"; do
        printf 'export %s=%q\n' "${entry%%=*}" "${entry#*=}" >> "$guest/environment"
    done
    for entry in "${files[@]}"; do
        from=${entry%%:*}
        to=/data/$(basename "$from")
        [ "$from" = "$entry" ] || to=${entry#*:}
        mkdir -p "$guest$(dirname "$to")"
        cp -rL "$from" "$guest$to"
    done
}

# Takes a program and its arguments.
add_job() {
    [ $# -gt 0 ] || die "no program between two --"
    [ -f "$1" ] || die "$1 is not a file"
    is_static "$1" || die "$1 is not static: build it with RUSTFLAGS='-C target-feature=+crt-static' and --target x86_64-unknown-linux-gnu"
    local inside
    inside=/programs/$jobs-$(basename "$1")
    strip -o "$guest$inside" "$1" 2> /dev/null || cp "$1" "$guest$inside"
    chmod 755 "$guest$inside"
    shift
    printf 'exec %s\n' "$(printf '%q ' "$inside" "$@")" > "$guest/jobs/$(printf '%03d' "$jobs")"
    jobs=$((jobs + 1))
}

# A CD that isolinux boots. Bochs 2.7 reports the standard size for the compacted XSAVE area, upon which Linux would disable AVX
# altogether: 321 and 323 hide XSAVEC and XSAVES. The others hide PCID, INVPCID, SERIALIZE, PKU, FSRM, LA57 and UMIP: with all of them a newer
# Bochs faults for ever while Linux patches its text. trace_eval_init patches kernel text for as long as the rest of the boot takes.
make_medium() {
    local loud="quiet loglevel=3" iso=$work/iso
    [ -z "$verbose" ] || loud=loglevel=7
    mkdir -p "$iso"
    (cd "$guest" && find . | cpio --quiet -o -H newc) > "$iso/initrd"
    cp "$1" "$iso/vmlinuz"
    cp $isolinux $ldlinux "$iso/"
    cat > "$iso/isolinux.cfg" <<TEXT
default guest
prompt 0
timeout 0
label guest
  kernel /vmlinuz
  append initrd=/initrd rdinit=/init console=ttyS0,115200 $loud clearcpuid=321,323,145,298,590,515,580,528,514 no5lvl mitigations=off nokaslr random.trust_cpu=on tsc=reliable nowatchdog initcall_blacklist=trace_eval_init panic=1 reboot=t
TEXT
    xorriso -as mkisofs -quiet -o "$work/boot.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table "$iso" \
        2> "$work/xorriso.txt" || die "xorriso: $(cat "$work/xorriso.txt")"
}

# The guest's second is `ips` instructions, so its clock counts work and not the host's time.
describe_machine() {
    cat > "$work/bochsrc" <<TEXT
config_interface: textconfig
display_library: $display
megs: $memory
cpu: model=$model, count=1, ips=200000000, reset_on_triple_fault=0
clock: sync=none, time0=utc
romimage: file=$bios
vgaromimage: file=$vga_bios
ata0: enabled=1
ata0-master: type=cdrom, path="$work/boot.iso", status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev="$out/console.txt"
log: $out/bochs.log
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
TEXT
    # Debian's is built with sound, which would look for a device.
    [ -n "${RADNET_BOCHS:-}" ] || echo "sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy" >> "$work/bochsrc"
    # Debian builds Bochs with its debugger, which waits for a command at the first instruction.
    echo continue > "$work/commands"
}

# Debian builds Bochs with its debugger and with displays that show something.
boot() {
    if [ -n "${RADNET_BOCHS:-}" ]; then
        timeout --foreground --kill-after=10 "$limit" nice -n 10 "$bochs" -q -f "$work/bochsrc" < /dev/null > "$work/screen" 2>&1 || status=$?
    else
        boot_on_a_terminal
    fi
}

# The text display writes to a terminal that Bochs makes and names, and stands still once nobody has read for a while. script(1) is the
# terminal that Bochs runs in. Switching off counts as a panic of Bochs, so its status says nothing; the console does.
boot_on_a_terminal() {
    TERM=linux timeout --foreground --kill-after=10 "$limit" nice -n 15 \
        script -qefc "$bochs -q -f '$work/bochsrc' -rc '$work/commands'" "$work/screen" < /dev/null > /dev/null 2>&1 &
    local machine=$! terminal='' tries
    for tries in $(seq 600); do
        terminal=$(sed -n 's/.*connected to screen "\(.*\)".*/\1/p' "$work/screen" 2> /dev/null)
        [ -z "$terminal" ] && kill -0 $machine 2> /dev/null || break
        sleep 0.1
    done
    [ -z "$terminal" ] || timeout "$limit" cat "$terminal" > /dev/null 2>&1 &
    wait $machine || status=$?
}

# Splits the console into N.txt per job and prints each with its exit code; returns 1 when a job failed.
report() {
    awk -v out="$out" '
        /^##job [0-9]+ begin / { file = out "/" ($2 + 0) ".txt"; printf "" > file; begun = $4; next }
        /^##job [0-9]+ exit /  { print $2 + 0, $4, $5 - begun; close(file); file = ""; next }
        file != ""             { print > file }
    ' "$out/console.txt" > "$work/exits"
    local failed=0 job code seconds
    while read -r job code seconds; do
        echo "== job $job: exit $code after $seconds s of the guest's time"
        cat "$out/$job.txt"
        [ "$code" = 0 ] || failed=1
    done < "$work/exits"
    return $failed
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${RADNET_AVX512_CACHE:-$(cd "$here/../.." && pwd)/target/avx512}
model=corei7_skylake_x memory=1024 limit=1800 out='' verbose='' display=term
[ -z "${RADNET_BOCHS:-}" ] || display=nogui
files=() environment=()
while getopts f:e:c:m:t:o:vh option; do
    case $option in
        f) files+=("$OPTARG") ;;
        e) environment+=("$OPTARG") ;;
        c) model=$OPTARG ;;
        m) memory=$OPTARG ;;
        t) limit=$OPTARG ;;
        o) out=$OPTARG ;;
        v) verbose=yes ;;
        h) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
done
shift $((OPTIND - 1)) # the first -- included
[ $# -gt 0 ] || { usage >&2 && exit 2; }

need_tools
mkdir -p "$cache"
kernel=$(find_kernel)
work=$(mktemp -d "$cache/run.XXXXXX")
trap 'rm -rf "$work"' EXIT
out=${out:-$(mktemp -d -t avx512.XXXXXX)}
mkdir -p "$out"
out=$(cd "$out" && pwd)
rm -f "$out"/console.txt "$out"/bochs.log "$out"/[0-9]*.txt

guest=$work/guest jobs=0 status=0
lay_guest
words=()
for word in "$@" --; do
    if [ "$word" = -- ]; then
        add_job "${words[@]}"
        words=()
    else
        words+=("$word")
    fi
done
make_medium "$kernel"
describe_machine
began=$(date +%s)
boot
[ -s "$out/console.txt" ] || die "nothing came over the serial port (status $status); see $out/bochs.log"
failed=0
report || failed=1
ran=$(wc -l < "$work/exits")
echo "== $ran of $jobs jobs ran on $model in $(($(date +%s) - began)) s; kept in $out"
if [ "$ran" != "$jobs" ]; then
    tail -n 20 "$out/console.txt" >&2
    die "the machine stopped early (status $status)"
fi
exit $failed
