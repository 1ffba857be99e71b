/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decoder against Zydis: lengths and validity over the code of programs that are there anyway,
 * and over random bytes. VIREO_SOAK multiplies the random part.
 */
#include "unit.h"

#include "engine/x86/insn.h"

#include <Zydis/Zydis.h>
#include <cpuid.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static ZydisDecoder zydis[3];

/* Extensions that are not offered to guests, or that we leave out on purpose. */
static bool is_left_out(const ZydisDecodedInstruction *z)
{
    if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
        z->encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX ||
        z->encoding == ZYDIS_INSTRUCTION_ENCODING_XOP ||
        z->encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW)
        return true;
    switch (z->meta.isa_ext) {
    case ZYDIS_ISA_EXT_LONGMODE:
    case ZYDIS_ISA_EXT_BASE:
        return z->mnemonic == ZYDIS_MNEMONIC_UD0;
    case ZYDIS_ISA_EXT_X87:
    case ZYDIS_ISA_EXT_MMX:
    case ZYDIS_ISA_EXT_SSE:
    case ZYDIS_ISA_EXT_SSE2:
    case ZYDIS_ISA_EXT_SSE3:
    case ZYDIS_ISA_EXT_SSSE3:
    case ZYDIS_ISA_EXT_SSE4:
    case ZYDIS_ISA_EXT_AVX:
    case ZYDIS_ISA_EXT_AVX2:
    case ZYDIS_ISA_EXT_BMI1:
    case ZYDIS_ISA_EXT_BMI2:
    case ZYDIS_ISA_EXT_FMA:
    case ZYDIS_ISA_EXT_AES:
    case ZYDIS_ISA_EXT_SHA:
    case ZYDIS_ISA_EXT_F16C:
    case ZYDIS_ISA_EXT_MOVBE:
    case ZYDIS_ISA_EXT_ADOX_ADCX:
    case ZYDIS_ISA_EXT_LZCNT:
        return false;
    default:
        return true;
    }
}

struct tally {
    unsigned long insns, bad, skipped;
};

/* Compares at one place; returns how far to go on. */
static unsigned compare(const uint8_t *p, size_t n, unsigned mode, struct tally *tally)
{
    static const unsigned bits[3] = { 64, 32, 16 };
    struct insn in;
    ZydisDecodedInstruction z;
    unsigned avail = n < 15 ? (unsigned)n : 15;
    enum insn_result r = insn_decode(p, avail, bits[mode], &in);
    ZyanStatus zs = ZydisDecoderDecodeInstruction(&zydis[mode], NULL, p, avail, &z);
    bool ok = r == INSN_OK, zok = ZYAN_SUCCESS(zs);

    tally->insns++;
    if (ok && zok && in.len == z.length)
        return in.len;
    if (r == INSN_MORE || zs == ZYDIS_STATUS_NO_MORE_DATA)
        return avail;
    if (!ok && zok && is_left_out(&z)) {
        tally->skipped++;
        if (z.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX && in.len != z.length)
            goto differs;
        return z.length;
    }
    if (!ok && (!zok || (in.map == MAP_0F && in.opcode == 0x0d)))
        return 1; /* PREFETCHW with a register: undefined on AMD, NOP on Intel */
    if (ok && in.map == MAP_0F && (in.opcode == 0x1a || in.opcode == 0x1b))
        return in.len; /* MPX there, plain NOP without it */
differs:
    tally->bad++;
    if (tally->bad < 60) {
        printf("%u-bit: ours %d len %u (%s), zydis %s len %u %s:", bits[mode], r, in.len,
               in.info ? in.info->name : "-", zok ? "ok" : "bad", zok ? z.length : 0,
               zok ? ZydisMnemonicGetString(z.mnemonic) : "");
        for (unsigned i = 0; i < avail; i++)
            printf(" %02x", p[i]);
        printf("\n");
    }
    return zok ? z.length : 1;
}

static void compare_file(const char *path, size_t limit, struct tally *tally)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size < (off_t)sizeof(Elf64_Ehdr)) {
        if (fd >= 0)
            close(fd);
        return;
    }
    uint8_t *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    assert_true(map != MAP_FAILED);
    const Elf64_Ehdr *eh = (const void *)map;
    const Elf64_Shdr *sh = (const void *)(map + eh->e_shoff);
    const char *names = (const char *)map + sh[eh->e_shstrndx].sh_offset;
    for (unsigned i = 0; i < eh->e_shnum; i++) {
        if (strcmp(names + sh[i].sh_name, ".text") != 0)
            continue;
        const uint8_t *p = map + sh[i].sh_offset, *end = p + sh[i].sh_size;
        if (sh[i].sh_size > limit)
            end = p + limit;
        while (p < end)
            p += compare(p, (size_t)(end - p), 0, tally);
    }
    munmap(map, (size_t)st.st_size);
}

static void test_programs(void **state)
{
    (void)state;
    static const char *const paths[] = { "/bin/bash", "/lib/x86_64-linux-gnu/libc.so.6",
                                         "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
                                         "/usr/bin/python3" };
    size_t limit = getenv("VIREO_SOAK") ? SIZE_MAX : 1 << 20;
    struct tally tally = { 0 };

    for (unsigned i = 0; i < sizeof paths / sizeof paths[0]; i++)
        compare_file(paths[i], limit, &tally);
    printf("%lu instructions, %lu left out, %lu differ\n", tally.insns, tally.skipped, tally.bad);
    assert_true(tally.bad <= tally.insns / 10000); /* tables of data inside .text */
}

static uint64_t rng = 0x9e3779b97f4a7c15;
static uint64_t next_random(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    return rng ^= rng << 17;
}

static void test_random(void **state)
{
    (void)state;
    const char *soak = getenv("VIREO_SOAK");
    unsigned long n = soak ? 20000000 : 1000000;
    struct tally tally = { 0 };

    for (unsigned long i = 0; i < n; i++) {
        uint64_t bytes[2] = { next_random(), next_random() };
        uint8_t *b = (uint8_t *)bytes;
        static const uint8_t prefix[8] = { 0x66, 0xf2, 0xf3, 0x48, 0x0f, 0xc5, 0xc4, 0x0f };
        if (i & 1)
            b[0] = prefix[(bytes[1] >> 8) & 7];
        if (i & 2)
            b[1] = 0x0f;
        compare(b, sizeof bytes, i % 8 == 5 ? 1 : i % 8 == 7 ? 2 : 0, &tally);
    }
    printf("%lu random, seed fixed, %lu differ\n", n, tally.bad);
    assert_true(tally.bad <= n / 1000);
}

static void test_short_input(void **state)
{
    (void)state;
    static const uint8_t code[] = { 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8 };
    static const uint8_t lock_add[] = { 0xf0, 0x01, 0x08 }, lock_reg[] = { 0xf0, 0x01, 0xc8 };
    struct insn in;

    for (unsigned n = 0; n < sizeof code; n++)
        assert_int_equal(insn_decode(code, n, 64, &in), INSN_MORE);
    assert_int_equal(insn_decode(code, sizeof code, 64, &in), INSN_OK);
    assert_int_equal(in.imm, 0x0807060504030201);
    assert_int_equal(in.off_imm, 2);
    assert_int_equal(insn_decode(lock_add, 3, 64, &in), INSN_OK);
    assert_int_equal(insn_decode(lock_reg, 3, 64, &in), INSN_BAD);
    uint8_t longer[16];
    memset(longer, 0x66, sizeof longer);
    assert_int_equal(insn_decode(longer, 15, 64, &in), INSN_LONG);
}

/* What not every host has: the decoder knows no form of it there. */
static bool host_lacks(const char *name)
{
    unsigned a, b = 0, c = 0, d;

    (void)__get_cpuid_count(7, 0, &a, &b, &c, &d);
    return (strstr(name, "gf2p8") != NULL && !(c & bit_GFNI)) ||
           (strcmp(name, "rdseed") == 0 && !(b & bit_RDSEED));
}

static void test_forms(void **state)
{
    (void)state;
    unsigned none = 0;

    for (unsigned i = 0; i < insn_form_count(); i++) {
        struct insn_form_choice c = { .reg = 3, .rm = 1, .vvvv = 2, .mem_base = 3, .disp8 = 16 };
        uint8_t bytes[INSN_MAX_BYTES];
        if (insn_form_bytes(i, 64, &c, bytes) == 0 && insn_form_bytes(i, 32, &c, bytes) == 0 &&
            !host_lacks(insn_form_name(i))) {
            printf("form %u %s cannot be encoded\n", i, insn_form_name(i));
            none++;
        }
    }
    assert_int_equal(none, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_input),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_programs),
        cmocka_unit_test(test_random),
    };
    ZydisDecoderInit(&zydis[0], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisDecoderInit(&zydis[1], ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
    ZydisDecoderInit(&zydis[2], ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
