/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block/format/inflate.h"

#include "os/dynlib.h"

#include <bzlib.h>
#include <errno.h>
#include <libdeflate.h>
#include <string.h>

#define FUNCTIONS(X) X(BZ2_bzBuffToBuffDecompress)
FUNCTIONS(DYNLIB_POINTER)

int inflate_zlib(const void *in, size_t len, void *out, size_t out_len)
{
    struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
    size_t got = 0;
    int r = d != NULL ? 0 : -ENOMEM;

    if (r == 0 &&
        (libdeflate_zlib_decompress(d, in, len, out, out_len, &got) != LIBDEFLATE_SUCCESS ||
         got != out_len)) {
        r = -EIO;
    }
    libdeflate_free_decompressor(d);
    return r;
}

int inflate_bzip2(const void *in, size_t len, void *out, size_t out_len)
{
    static const struct dynlib_symbol symbols[] = { FUNCTIONS(DYNLIB_SYMBOL) };
    unsigned got = (unsigned)out_len;
    union {
        const void *from;
        char *to;
    } p = { .from = in };
    int r = dynlib_open("libbz2.so.1.0", symbols, 1, NULL);

    if (r < 0) {
        return r;
    }
    if (dyn_BZ2_bzBuffToBuffDecompress(out, &got, p.to, (unsigned)len, 0, 0) != BZ_OK) {
        return -EIO;
    }
    memset((char *)out + got, 0, out_len - got);
    return 0;
}
