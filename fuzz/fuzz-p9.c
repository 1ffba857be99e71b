/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 9P requests as a hostile guest makes them, against a read-only share. Each record: two bytes of
 * length, then a request. */
#include "base/bytes.h"
#include "vmm/dev/virtio/p9.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t answer[65536];
    struct reader r = reader_of(data, size);
    struct p9 *p9 = NULL;

    if (p9_new("/usr/share/doc", true, &p9, NULL) < 0) {
        return 0;
    }
    while (r.left >= 2) {
        size_t len = reader_le16(&r);
        union {
            const uint8_t *from;
            void *to;
        } p;
        struct iovec out;
        struct iovec in = { answer, sizeof(answer) };

        len = len < r.left ? len : r.left;
        p.from = reader_take(&r, len);
        out = (struct iovec) { p.to, len };
        (void)p9_serve(p9, &out, 1, &in, 1);
    }
    (void)p9_free(p9);
    return 0;
}
