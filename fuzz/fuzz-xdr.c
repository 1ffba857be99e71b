/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/xdr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first half of the input chooses which primitives read the second half. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct xdr_in in = xdr_in_of(data + size / 2, size - size / 2);
    uint8_t fixed[16];
    size_t len;

    for (size_t i = 0; i < size / 2; i++) {
        switch (data[i] % 5) {
        case 0:
            (void)xdr_get_u64(&in);
            break;
        case 1:
            free(xdr_get_string(&in, 1024));
            break;
        case 2:
            (void)xdr_get_bytes(&in, 1024, &len);
            break;
        case 3:
            xdr_get_fixed(&in, fixed, data[i] % sizeof(fixed));
            break;
        default:
            (void)xdr_get_count(&in, 100, 4);
            break;
        }
    }
    return 0;
}
