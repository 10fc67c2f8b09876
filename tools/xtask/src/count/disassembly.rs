//! What the innermost loops of the micro-kernels hold, from the machine code of this program.
//!
//! A kernel's body is compiled once per tier inside that tier's `shim` (see the lanes of `radnet_kernels`), so the symbol names the tier; the
//! line tables name the kernel. A loop is the code between the target of a jump backwards and the jump; it is innermost when it holds no
//! other. The stack is what `%rsp` addresses, and `%rbp` where a function's first instructions make it a frame pointer.

use super::{Loops, tools};
use std::collections::BTreeMap;
use std::process::Command;

/// The shims of the tiers whose kernels are looked at: the portable one calls a function for each multiply-add.
const TIERS: [&str; 4] = ["avx512", "avx2", "avx_vnni", "tiles"];

/// One function of the program.
struct Function {
    tier: String,
    start: u64,
    end: u64,
}

/// The loops of every kernel of every tier.
pub(super) fn loops() -> Result<BTreeMap<String, BTreeMap<String, Loops>>, String> {
    let program = std::env::current_exe().map_err(|e| format!("this program's path: {e}"))?;
    let symbols = tools::output(Command::new("nm").args(["--print-size", "--defined-only"]).arg(&program))?;
    let mut all: BTreeMap<String, BTreeMap<String, Loops>> = BTreeMap::new();
    for Function { tier, start, end } in symbols.lines().filter_map(function) {
        let mut command = Command::new("objdump");
        command.args(["--disassemble", "--no-show-raw-insn"]);
        command.arg(format!("--start-address={start:#x}")).arg(format!("--stop-address={end:#x}")).arg(&program);
        let text = tools::output(&mut command)?;
        let code = instructions(&text);
        let loops = loops_in(&code);
        if loops.loops == 0 {
            continue;
        }
        let mut command = Command::new("addr2line");
        command.args(["--functions", "--inlines", "--demangle", "--exe"]).arg(&program);
        // A multiply-add lies inside inlined functions. Asked for an address that does not, addr2line calls the function by its symbol.
        command.args(code.iter().find(|i| i.multiplies_and_adds()).map(|i| format!("{:#x}", i.address)));
        let kernel = kernel(&tools::output(&mut command)?).ok_or_else(|| format!("no line table names the kernel at {start:#x}"))?;
        let sum = all.entry(tier).or_default().entry(kernel).or_default();
        sum.loops += loops.loops;
        sum.multiply_adds += loops.multiply_adds;
        sum.loads += loops.loads;
        sum.stack += loops.stack;
    }
    Ok(all)
}

/// The loops of a disassembly as objdump prints it.
pub fn loops_of(text: &str) -> Loops {
    loops_in(&instructions(text))
}

/// A line of nm, when it is the shim of a tier.
fn function(line: &str) -> Option<Function> {
    let [start, size, _, name] = line.split_whitespace().collect::<Vec<_>>().try_into().ok()?;
    let tier = shim_of(name)?;
    let start = u64::from_str_radix(start, 16).ok()?;
    Some(Function { tier, start, end: start + u64::from_str_radix(size, 16).ok()? })
}

/// The module that holds the shim, and what stands before its name: identifiers of mangled names follow their lengths.
fn shim_of(name: &str) -> Option<String> {
    let (path, kind) = match name.split_once("9bf16_shim") {
        Some((path, _)) => (path, "_bf16"),
        None => (name.split_once("4shim")?.0, ""),
    };
    let module = (1..path.len()).find_map(|n| {
        let (before, module) = path.split_at_checked(path.len() - n)?;
        (before.ends_with(&n.to_string()) && module.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(module)
    })?;
    let known = path.contains("radnet_kernels") && TIERS.iter().any(|tier| module.starts_with(tier));
    known.then(|| format!("{module}{kind}"))
}

/// "shim<radnet_kernels::cpu::gemm::Gemm>" says the kernel.
fn kernel(lines: &str) -> Option<String> {
    let name = lines.lines().find_map(|line| line.strip_prefix("bf16_").unwrap_or(line).strip_prefix("shim<"))?;
    let name = name.strip_suffix('>').unwrap_or(name);
    Some(name.trim_start_matches("radnet_kernels::cpu::").to_owned())
}

/// One instruction.
struct Instruction<'t> {
    address: u64,
    name: &'t str,
    operands: &'t str,
}

fn instructions(text: &str) -> Vec<Instruction<'_>> {
    let line = |line: &'_ str| -> Option<(u64, usize)> {
        let (address, _) = line.trim_start().split_once(':')?;
        Some((u64::from_str_radix(address, 16).ok()?, line.find(':')? + 1))
    };
    text.lines()
        .filter_map(|l| {
            let (address, at) = line(l)?;
            // How objdump says which of two encodings an instruction has.
            let code = l[at..].trim().trim_start_matches("{vex}").trim_start();
            let (name, operands) = code.split_once(char::is_whitespace).unwrap_or((code, ""));
            let operands = operands.split(" #").next().unwrap_or("").trim();
            (!name.is_empty() && !name.starts_with('<')).then_some(Instruction { address, name, operands })
        })
        .collect()
}

impl Instruction<'_> {
    /// Where a jump goes.
    fn target(&self) -> Option<u64> {
        let target = self.operands.split_whitespace().next().filter(|_| self.name.starts_with('j'))?;
        u64::from_str_radix(target, 16).ok()
    }

    fn multiplies_and_adds(&self) -> bool {
        const FAMILIES: [&str; 8] = ["vfmadd", "vfnmadd", "vpdpbusd", "vpdpwssd", "vpmaddubsw", "vpmaddwd", "vdpbf16ps", "tdp"];
        FAMILIES.iter().any(|family| self.name.starts_with(family))
    }

    /// Whether an operand other than the last, which is written, is in memory.
    fn loads(&self) -> bool {
        let touches = !["lea", "nop", "prefetch"].iter().any(|name| self.name.starts_with(name));
        let last = last_operand(self.operands);
        let compares = ["cmp", "test"].iter().any(|name| self.name.starts_with(name));
        touches && (self.operands[..self.operands.len() - last.len()].contains('(') || compares && last.contains('('))
    }

    fn on_stack(&self, framed: bool) -> bool {
        let there = self.operands.contains("(%rsp") || framed && self.operands.contains("(%rbp");
        there && !self.name.starts_with("lea")
    }
}

/// The last operand: commas within parentheses do not part.
fn last_operand(operands: &str) -> &str {
    let mut depth = 0;
    let mut start = 0;
    for (i, c) in operands.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => start = i + 1,
            _ => {}
        }
    }
    &operands[start..]
}

/// Sums over the innermost loops that multiply and add.
fn loops_in(code: &[Instruction<'_>]) -> Loops {
    let index = |address: u64| code.binary_search_by_key(&address, |i| i.address).ok();
    let mut ranges: Vec<(usize, usize)> = code
        .iter()
        .enumerate()
        .filter_map(|(end, i)| Some((i.target().and_then(index)?, end)))
        .filter(|(start, end)| start <= end)
        .collect();
    // Several jumps to one place are one loop.
    ranges.sort_unstable_by_key(|&(start, end)| (start, std::cmp::Reverse(end)));
    ranges.dedup_by_key(|(start, _)| *start);
    let framed = code.iter().take(4).any(|i| i.name == "mov" && i.operands == "%rsp,%rbp");
    let mut sum = Loops::default();
    for &(start, end) in &ranges {
        let holds_another = ranges.iter().any(|&(s, e)| (s, e) != (start, end) && start <= s && e <= end);
        let body = &code[start..=end];
        let count = |is: &dyn Fn(&Instruction<'_>) -> bool| body.iter().filter(|i| is(i)).count() as u64;
        let multiply_adds = count(&|i| i.multiplies_and_adds());
        if !holds_another && multiply_adds > 0 {
            sum.loops += 1;
            sum.multiply_adds += multiply_adds;
            sum.loads += count(&|i| i.loads());
            sum.stack += count(&|i| i.on_stack(framed));
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An outer loop around a loop of two multiply-adds with one load and one broadcast, and a loop that copies.
    const CODE: &str = "
0000000000001000 <shim>:
    1000:\tpush   %rbp
    1001:\tmov    0x8(%rsp),%rax
    1006:\tvmovups (%rdi,%rax,4),%ymm0
    100b:\tvbroadcastss 0x4(%rsi),%ymm1
    1011:\tvfmadd231ps %ymm0,%ymm1,%ymm2
    1016:\tvfmadd231ps (%rdx),%ymm1,%ymm3
    101b:\tdec    %rax
    101e:\tjne    1006 <shim+0x6>
    1020:\tvmovups %ymm2,0x40(%rsp)
    1026:\tcmp    %rcx,%rdx
    1029:\tjb     1001 <shim+0x1>
    102b:\tvmovups (%rdi),%ymm4
    1030:\tlea    0x8(%rsp),%rdi
    1035:\tjne    102b <shim+0x2b>
    1037:\tret
";

    /// Only the innermost loop that multiplies counts; spills around it do not, a spill planted in it does.
    #[test]
    fn innermost_loops_are_found() {
        assert_eq!(loops_of(CODE), Loops { loops: 1, multiply_adds: 2, loads: 3, stack: 0 });
        assert_eq!(loops_of(&CODE.replace("vfmadd231ps", "{vex} vpdpwssd")), loops_of(CODE));
        let spilled = CODE.replace("    101b:\tdec    %rax\n", "    101b:\tvmovups %ymm3,0x20(%rsp)\n");
        assert_eq!(loops_of(&spilled), Loops { loops: 1, multiply_adds: 2, loads: 3, stack: 1 });
        let framed = spilled.replace("(%rsp),%rax", "(%rbp),%rax").replace("0x20(%rsp)", "-0x20(%rbp)");
        assert_eq!(loops_of(&framed).stack, 0);
        assert_eq!(loops_of(&framed.replace("    1001:\tmov    0x8(%rbp),%rax", "    1001:\tmov    %rsp,%rbp")).stack, 1);
        let reloaded = CODE.replace("vmovups (%rdi,%rax,4),%ymm0", "vmovups 0x60(%rsp),%ymm0");
        assert_eq!(loops_of(&reloaded), Loops { loops: 1, multiply_adds: 2, loads: 3, stack: 1 });
    }

    /// Both manglings name the tier; other functions are none.
    #[test]
    fn shims_are_recognised() {
        assert_eq!(shim_of("_ZN14radnet_kernels3cpu5lanes6avx5124shim17h12c3b092293bf88bE").as_deref(), Some("avx512"));
        assert_eq!(shim_of("_RINvNtNtNtCsabc_14radnet_kernels3cpu5lanes4avx24shimNtNtB4_4gemm4GemmE").as_deref(), Some("avx2"));
        assert_eq!(shim_of("_ZN14radnet_kernels3cpu4int85lanes11avx512_vnni4shim17h00E").as_deref(), Some("avx512_vnni"));
        assert_eq!(shim_of("_ZN14radnet_kernels3cpu4bf165lanes6avx5129bf16_shim17h12E").as_deref(), Some("avx512_bf16"));
        assert_eq!(shim_of("_ZN14radnet_kernels3cpu5tiles4shim17h12E").as_deref(), Some("tiles"));
        assert_eq!(shim_of("_RNvCsfLfy6EI15iL_7___rustc35___rust_no_alloc_shim_is_unstable_v2"), None);
        assert_eq!(shim_of("_ZN14radnet_kernels3cpu5lanes8portable4shim17h12E"), None);
    }

    #[test]
    fn line_tables_name_the_kernel() {
        let lines = "next<usize>\n/core/range.rs:857\nshim<radnet_kernels::cpu::gemm::Gemm>\n/kernels/src/cpu/lanes/avx512.rs:15\n";
        assert_eq!(kernel(lines).as_deref(), Some("gemm::Gemm"));
        assert_eq!(kernel("main\n??:0\n"), None);
    }
}
