"""Runs an x86-64 Linux program on an emulated processor, for instructions that this one lacks.

    python linux_guest.py PROGRAM [ARGUMENTS ...]

The processor is Bochs (``pip install bochscpu-python``), which has AVX-512. The program's memory is
this process's, at the same addresses, so that system calls are handed to Linux as they come. It
must be position independent; it has one thread, no signals and no children. What takes a second
takes minutes.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

import bochscpu
import bochscpu.cpu
import bochscpu.memory

PAGE = 4096
READ, WRITE, PRIVATE, FIXED, ANONYMOUS, LAZY = 1, 2, 0x02, 0x10, 0x20, 0x4000
FIRST_ADDRESS, HEAP, HEAP_BYTES, STACK_BYTES = 1 << 36, 0x7C << 32, 1 << 33, 64 << 20
INVALID, NO_SUCH_CALL, AGAIN, NO_MEMORY = -22, -38, -11, -12
ARCH_SET_FS, ARCH_GET_FS = 0x1002, 0x1003
SHARED_FLAG, MAY_MOVE = 1, 1

# mprotect, rt_sigaction, rt_sigprocmask, sigaltstack, set_robust_list
WITHOUT_EFFECT = {10, 13, 14, 131, 273}
# fork, vfork, execve, clone3, rseq
ABSENT = {57, 58, 59, 435, 334}

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]


def pages(size: int) -> int:
    return (size + PAGE - 1) & -PAGE


class Memory:
    """Addresses below 2^39, which a page table of one page maps; none is given twice."""

    def __init__(self) -> None:
        self.next = FIRST_ADDRESS
        self.heap_end = self.place(HEAP, HEAP_BYTES)

    def reserve(self, size: int) -> int:
        address = self.next
        self.next += pages(size) + PAGE
        return address

    def place(self, address: int, size: int) -> int:
        """Zeros at an address, instead of what was there."""
        flags = PRIVATE | ANONYMOUS | FIXED | LAZY
        if libc.mmap(address, pages(size), READ | WRITE, flags, -1, 0) != address:
            raise MemoryError(f"no {size} bytes at {address:#x}")
        return address

    def new(self, size: int) -> int:
        return self.place(self.reserve(size), size)

    def move_heap_end(self, end: int) -> int:
        if HEAP <= end < HEAP + HEAP_BYTES:
            if end < self.heap_end:
                ctypes.memset(end, 0, self.heap_end - end)
            self.heap_end = end
        return self.heap_end


def write(address: int, data: bytes) -> None:
    ctypes.memmove(address, data, len(data))


class Image:
    """An ELF file in memory, and what its loader wants to know of it."""

    def __init__(self, path: str, memory: Memory) -> None:
        data = Path(path).read_bytes()
        (kind,) = struct.unpack_from("<H", data, 16)
        if data[:4] != b"\x7fELF" or kind != 3:
            raise SystemExit(f"linux_guest: {path} is no position-independent ELF program")
        entry, headers = struct.unpack_from("<QQ", data, 24)
        self.header_size, self.num_headers = struct.unpack_from("<HH", data, 54)
        segments = [
            struct.unpack_from("<IIQQQQQQ", data, headers + number * self.header_size)
            for number in range(self.num_headers)
        ]
        self.base = memory.new(max(s[3] + s[6] for s in segments if s[0] == 1))
        self.entry, self.headers = self.base + entry, self.base + headers
        self.interpreter = ""
        for segment, _, offset, address, _, size, _, _ in segments:
            if segment == 1:
                write(self.base + address, data[offset : offset + size])
            elif segment == 3:
                self.interpreter = data[offset : offset + size - 1].decode()


def stack_of(arguments: list[str], program: Image, loader_base: int, memory: Memory) -> int:
    """The first stack pointer: arguments, environment and auxiliary vector lie above it."""
    top = memory.new(STACK_BYTES) + STACK_BYTES

    def push(data: bytes) -> int:
        nonlocal top
        top -= len(data)
        write(top, data)
        return top

    strings = [push(os.fsencode(text) + b"\0") for text in arguments]
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    variables = [push(os.fsencode(f"{n}={v}") + b"\0") for n, v in environment.items()]
    auxiliary = {
        3: program.headers, 4: program.header_size, 5: program.num_headers, 6: PAGE,
        7: loader_base, 9: program.entry, 11: os.getuid(), 12: os.geteuid(), 13: os.getgid(),
        14: os.getegid(), 17: 100, 23: 0, 25: push(os.urandom(16)), 31: strings[0], 0: 0,
    }  # fmt: skip
    pairs = [number for pair in auxiliary.items() for number in pair]
    words = [len(strings), *strings, 0, *variables, 0, *pairs]
    top = (top - 8 * len(words)) & -16
    write(top, struct.pack(f"<{len(words)}Q", *words))
    return top


def segment(selector: int, attributes: int, base: int = 0, limit: int = 2**32 - 1):
    made = bochscpu.Segment()
    made.selector, made.attr, made.base, made.limit = selector, attributes, base, limit
    made.present = True
    return made


def table(base: int, limit: int):
    made = bochscpu.GlobalSegment()
    made.base, made.limit = base, limit
    return made


class Machine:
    """A processor in 64-bit mode. Its system calls end at an instruction that has a hook."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.session = bochscpu.Session()
        self.session.missing_page_handler = self.map_page
        self.exit_code: int | None = None

    def map_page(self, *arguments: int) -> None:
        address = arguments[-1] & -PAGE
        bochscpu.memory.page_insert(address, address)

    def run(self, arguments: list[str]) -> int:
        program = Image(arguments[0], self.memory)
        loader = Image(program.interpreter, self.memory) if program.interpreter else program
        stack = stack_of(arguments, program, loader.base, self.memory)
        self.prepare(loader.entry, stack)
        hooks = bochscpu.Hook()
        hooks.cache_cntrl = self.on_system_call
        hooks.exception = self.on_exception
        self.session.run([hooks])
        return 99 if self.exit_code is None else self.exit_code

    def prepare(self, entry: int, stack: int) -> None:
        tables = self.memory.new(3 * PAGE)
        write(tables, struct.pack("<Q", tables + PAGE + 3))
        huge_pages = [number << 30 | 0x83 for number in range(512)]
        write(tables + PAGE, struct.pack("<512Q", *huge_pages))
        descriptors = [0, 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF]
        write(tables + 2 * PAGE, struct.pack("<4Q", *descriptors))
        handler = self.memory.new(PAGE)
        write(handler, bytes([0x0F, 0x09, 0xFF, 0xE1]))  # wbinvd; jmp rcx
        state = self.session.cpu.state
        state.cs = segment(0x10, 0xA09B)
        for name in ("ds", "es", "ss", "fs", "gs"):
            setattr(state, name, segment(0x18, 0xC093))
        state.gdtr, state.idtr = table(tables + 2 * PAGE, PAGE - 1), table(0, 0)
        state.cr3, state.cr0 = tables, 0x80000033
        state.cr4, state.efer = 0x506A0 | 0x600, 0x501
        state.xcr0 = 0xE7  # x87, SSE, AVX, AVX-512
        state.star, state.lstar, state.sfmask = 0x10 << 32 | 0x18 << 48, handler, 0
        state.rflags, state.mxcsr, state.mxcsr_mask, state.fpcw = 2, 0x1F80, 0xFFFF, 0x37F
        state.rip, state.rsp = entry, stack
        self.session.cpu.state = state

    def on_system_call(self, *_: object) -> None:
        cpu = self.session.cpu
        arguments = (cpu.rdi, cpu.rsi, cpu.rdx, cpu.r10, cpu.r8, cpu.r9)
        cpu.rax = self.system_call(cpu.rax & 0xFFFFFFFF, *arguments) & (2**64 - 1)

    def on_exception(self, session: object, number: int, vector: int, *_: object) -> None:
        cpu = self.session.cpu
        code = ctypes.string_at(cpu.rip, 16).hex() if cpu.rip < 1 << 39 else ""
        print(f"linux_guest: exception {vector} at {cpu.rip:#x}: {code}", file=sys.stderr)
        self.session.stop()

    def system_call(self, number: int, *arguments: int) -> int:
        a, b, c = arguments[:3]
        if number in WITHOUT_EFFECT:
            if number in (13, 14) and c:  # what was there before
                write(c, bytes(32 if number == 13 else 8))
            return 0
        if number in ABSENT:
            return NO_SUCH_CALL
        if number == 9:
            return self.map_memory(*arguments)
        if number == 11:  # munmap
            self.memory.place(a, b)
            return 0
        if number == 12:
            return self.memory.move_heap_end(a)
        if number == 25:
            return self.grow(*arguments[:4])
        if number == 28 and c != 4:  # madvise, but for "not needed"
            return 0
        if number == 56:  # clone
            return AGAIN
        if number == 158:
            return self.thread_register(a, b)
        if number == 218:  # set_tid_address
            return os.getpid()
        if number in (60, 231):
            self.exit_code = a & 0xFF
            self.session.stop()
            return 0
        signed = [ctypes.c_long(value - 2**64 if value >> 63 else value) for value in arguments]
        result = libc.syscall(ctypes.c_long(number), *signed)
        return -ctypes.get_errno() if result == -1 else result

    def map_memory(self, address: int, size: int, access: int, flags: int, file: int, at: int):
        if not flags & FIXED:
            address = self.memory.reserve(size)
        access = access & 3 | READ if flags & SHARED_FLAG else READ | WRITE
        file = ctypes.c_int(file & 0xFFFFFFFF).value
        result = libc.mmap(address, size, access, flags & 0xFFFFF | FIXED | LAZY, file, at)
        return -ctypes.get_errno() if result == 2**64 - 1 else result

    def grow(self, address: int, size: int, wanted: int, flags: int) -> int:
        if wanted <= size:
            return address
        if not flags & MAY_MOVE:
            return NO_MEMORY
        moved = self.memory.new(wanted)
        ctypes.memmove(moved, address, size)
        self.memory.place(address, size)
        return moved

    def thread_register(self, code: int, address: int) -> int:
        register = self.session.cpu.fs
        if code == ARCH_GET_FS:
            write(address, struct.pack("<Q", register.base))
        elif code == ARCH_SET_FS:
            register.base = address
            self.session.cpu.fs = register
        else:
            return INVALID
        return 0


if __name__ == "__main__":
    code = Machine().run(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
