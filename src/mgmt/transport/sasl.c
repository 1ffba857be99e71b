/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/transport/sasl.h"

#include "mgmt/server/client.h"
#include "os/tls.h"
#include "rpc/fault.h"

#include <errno.h>
#include <sasl/sasl.h>
#include <string.h>

/* Without TLS the mechanism must encrypt with at least what DES offers. */
enum { SSF_MIN = 56, SSF_MAX = 100000, MAX_BUF = 65536 };

struct sasl_session {
    sasl_conn_t *conn;
    bool active;
    uint8_t *wrapped; /* owned; not yet sent */
    size_t wrapped_len, wrapped_off, wrapped_for;
};

static bool initialised;

int sasl_session_new(struct client *c, struct sasl_session **ret, struct err **err)
{
    struct sasl_session *s;
    sasl_security_properties_t props = { .max_ssf = SSF_MAX, .maxbufsize = MAX_BUF };
    int r;

    if (!initialised) {
        r = sasl_server_init(NULL, "libvirt");
        if (r != SASL_OK) {
            return fault(err, DOM_RPC, AUTH_FAILED, "failed to initialize SASL library: %d (%s)", r,
                         sasl_errstring(r, NULL, NULL));
        }
        initialised = true;
    }
    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return -ENOMEM;
    }
    r = sasl_server_new("libvirt", NULL, NULL, NULL, NULL, NULL, SASL_SUCCESS_DATA, &s->conn);
    if (r == SASL_OK) {
        if (c->tls != NULL) {
            sasl_ssf_t ssf = tls_key_bits(c->tls);

            (void)sasl_setprop(s->conn, SASL_SSF_EXTERNAL, &ssf);
        } else if (c->address != NULL) {
            props.min_ssf = SSF_MIN;
        }
        props.security_flags =
            c->address != NULL && c->tls == NULL ? SASL_SEC_NOANONYMOUS | SASL_SEC_NOPLAINTEXT : 0;
        r = sasl_setprop(s->conn, SASL_SEC_PROPS, &props);
    }
    if (r != SASL_OK) {
        sasl_session_free(s);
        return fault(err, DOM_RPC, AUTH_FAILED, "cannot start SASL: %d (%s)", r,
                     sasl_errstring(r, NULL, NULL));
    }
    *ret = s;
    return 0;
}

struct sasl_session *sasl_session_free(struct sasl_session *s)
{
    if (s != NULL) {
        sasl_dispose(&s->conn);
        free(s->wrapped);
        free(s);
    }
    return NULL;
}

const char *sasl_mechanisms(struct sasl_session *s, struct err **err)
{
    const char *list = NULL;

    if (sasl_listmech(s->conn, NULL, "", ",", "", &list, NULL, NULL) != SASL_OK) {
        (void)fault(err, DOM_RPC, AUTH_FAILED, "cannot list SASL mechanisms: %s",
                    sasl_errdetail(s->conn));
        return NULL;
    }
    return list;
}

int sasl_step(struct sasl_session *s, const char *mech, const void *in, size_t in_len,
              const void **ret_out, size_t *ret_len, struct err **err)
{
    const char *out = NULL;
    unsigned len = 0;
    int r = mech != NULL ? sasl_server_start(s->conn, mech, in, (unsigned)in_len, &out, &len)
                         : sasl_server_step(s->conn, in, (unsigned)in_len, &out, &len);

    *ret_out = out;
    *ret_len = len;
    if (r == SASL_CONTINUE) {
        return 0;
    }
    if (r != SASL_OK) {
        return fault(err, DOM_RPC, AUTH_FAILED, "authentication failed");
    }
    return 1;
}

const char *sasl_user(struct sasl_session *s)
{
    const void *v = NULL;

    return sasl_getprop(s->conn, SASL_USERNAME, &v) == SASL_OK ? v : NULL;
}

void sasl_activate(struct sasl_session *s)
{
    const void *v = NULL;
    int ssf = 0;

    if (sasl_getprop(s->conn, SASL_SSF, &v) == SASL_OK && v != NULL) {
        memcpy(&ssf, v, sizeof(ssf));
    }
    s->active = ssf > 0;
}

bool sasl_active(const struct sasl_session *s)
{
    return s != NULL && s->active;
}

ssize_t sasl_put(struct sasl_session *s, const void *p, size_t len, sasl_put_fn *put,
                 struct client *c)
{
    size_t done;

    if (s->wrapped == NULL) {
        const char *out;
        unsigned n, take = len > MAX_BUF / 2 ? MAX_BUF / 2 : (unsigned)len;

        if (sasl_encode(s->conn, p, take, &out, &n) != SASL_OK) {
            return -EIO;
        }
        s->wrapped = malloc(n);
        if (s->wrapped == NULL) {
            return -ENOMEM;
        }
        memcpy(s->wrapped, out, n);
        s->wrapped_len = n;
        s->wrapped_off = 0;
        s->wrapped_for = take;
    }
    while (s->wrapped_off < s->wrapped_len) {
        ssize_t n = put(c, s->wrapped + s->wrapped_off, s->wrapped_len - s->wrapped_off);

        if (n < 0) {
            return n;
        }
        s->wrapped_off += (size_t)n;
    }
    done = s->wrapped_for;
    free(s->wrapped);
    s->wrapped = NULL;
    return (ssize_t)done;
}

int sasl_take(struct sasl_session *s, uint8_t **buf, size_t *len, size_t *room, size_t n)
{
    const char *out;
    unsigned got;
    uint8_t *p;

    if (sasl_decode(s->conn, (const char *)*buf + *len, (unsigned)n, &out, &got) != SASL_OK) {
        return -EPROTO;
    }
    if (*len + got > *room) {
        p = realloc(*buf, *len + got);
        if (p == NULL) {
            return -ENOMEM;
        }
        *buf = p;
        *room = *len + got;
    }
    if (got > 0) {
        memcpy(*buf + *len, out, got);
    }
    *len += got;
    return 0;
}
