/* SPDX-License-Identifier: GPL-2.0-or-later */
/* text.c - files, the editor, XML, numbers for people. */
#include "os/fd.h"
#include "os/process.h"
#include "tools/vireo/shell.h"

#include <errno.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>

enum { FILE_MAX = 10 << 20 };

char *read_file(const char *path)
{
    char *text;
    size_t len;
    int r = file_slurp(path, FILE_MAX, &text, &len);

    if (r < 0) {
        (void)error("Failed to open file '%s': %s", path, strerror(-r));
        return NULL;
    }
    return text;
}

int edit_text(const char *text, char **ret)
{
    char path[] = "/tmp/vireo-XXXXXX.xml";
    const char *editor = getenv("VISUAL") != NULL   ? getenv("VISUAL")
                         : getenv("EDITOR") != NULL ? getenv("EDITOR")
                                                    : "vi";
    int fd = mkstemps(path, 4), r;
    AUTO_FREE char *command = str_format("%s %s", editor, path);
    const char *const argv[] = { "sh", "-c", command, NULL };
    struct process_spec spec = {
        .argv = argv, .fd_in = 0, .fd_out = PROCESS_INHERIT, .fd_err = PROCESS_INHERIT
    };
    pid_t pid;

    *ret = NULL;
    if (fd < 0 || command == NULL) {
        return error("mkostemps: failed to create temporary file: %s", strerror(errno));
    }
    r = fd_write_all(fd, text, strlen(text));
    (void)close(fd);
    r = r == 0 ? process_spawn(&spec, &pid, NULL) : r;
    r = r == 0 ? process_wait(pid) : r;
    if (r != 0) {
        (void)unlink(path);
        return error("'%s' failed", editor);
    }
    *ret = read_file(path);
    (void)unlink(path);
    if (*ret != NULL && str_eq(*ret, text)) {
        free(*ret);
        *ret = NULL;
        return 0;
    }
    return *ret != NULL ? 0 : -1;
}

char *xml_quote(const char *s)
{
    struct strbuf b = STRBUF_INIT(FILE_MAX);

    for (; *s != '\0'; s++) {
        switch (*s) {
        case '<':
            strbuf_puts(&b, "&lt;");
            break;
        case '>':
            strbuf_puts(&b, "&gt;");
            break;
        case '&':
            strbuf_puts(&b, "&amp;");
            break;
        case '\'':
            strbuf_puts(&b, "&apos;");
            break;
        case '"':
            strbuf_puts(&b, "&quot;");
            break;
        default:
            strbuf_append(&b, s, 1);
        }
    }
    return strbuf_take(&b);
}

static int print_nodes(xmlDoc *doc, const xmlNodeSet *nodes, bool wrap)
{
    if (wrap) {
        printf("<nodes>\n");
    }
    for (int i = 0; nodes != NULL && i < nodes->nodeNr; i++) {
        xmlBuffer *b = xmlBufferCreate();

        if (b == NULL) {
            return error("%s", strerror(ENOMEM));
        }
        (void)xmlNodeDump(b, doc, nodes->nodeTab[i], wrap ? 1 : 0, 1);
        printf("%s%s\n", wrap ? "  " : "", (const char *)xmlBufferContent(b));
        xmlBufferFree(b);
    }
    if (wrap) {
        printf("</nodes>\n");
    }
    return 0;
}

int print_xml(struct args *a, const char *xml)
{
    const char *path = arg(a, "xpath");
    xmlDoc *doc;
    xmlXPathContext *ctx;
    xmlXPathObject *found;
    int r = 0;

    if (path == NULL) {
        printf("%s", xml);
        return 0;
    }
    doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL,
                        XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOBLANKS);
    ctx = doc != NULL ? xmlXPathNewContext(doc) : NULL;
    found = ctx != NULL ? xmlXPathEval((const xmlChar *)path, ctx) : NULL;
    if (found == NULL) {
        r = error("Failed to evaluate xpath '%s'", path);
    } else if (found->type == XPATH_NODESET) {
        r = print_nodes(doc, found->nodesetval, arg_set(a, "wrap"));
    } else {
        xmlChar *text = xmlXPathCastToString(found);

        printf("%s\n", (const char *)text);
        xmlFree(text);
    }
    xmlXPathFreeObject(found);
    xmlXPathFreeContext(ctx);
    xmlFreeDoc(doc);
    return r;
}

double pretty_size(unsigned long long v, const char **ret_unit)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double d = (double)v;
    size_t i = 0;

    while (d >= 1024 && i + 1 < sizeof(units) / sizeof(units[0])) {
        d /= 1024;
        i++;
    }
    *ret_unit = units[i];
    return d;
}

const char *state_text(int state)
{
    static const char *const names[] = { "no state",    "running",  "idle",    "paused",
                                         "in shutdown", "shut off", "crashed", "pmsuspended" };

    return state >= 0 && (size_t)state < sizeof(names) / sizeof(names[0]) ? names[state]
                                                                          : "no state";
}

const char *state_reason(int state, int reason)
{
    static const char *const running[] = {
        "unknown",       "booted",   "migrated",           "restored",
        "from snapshot", "unpaused", "migration canceled", "save canceled",
        "event wakeup",  "crashed",  "post-copy",          "post-copy failed"
    };
    static const char *const paused[] = {
        "unknown",   "user",        "migrating",     "saving",          "dumping",
        "I/O error", "watchdog",    "from snapshot", "shutting down",   "creating snapshot",
        "crashed",   "starting up", "post-copy",     "post-copy failed"
    };
    static const char *const off[] = { "unknown", "shutdown",      "destroyed",
                                       "crashed", "migrated",      "saved",
                                       "failed",  "from snapshot", "daemon" };
    static const char *const shutdown[] = { "unknown", "user" };
    static const char *const crashed[] = { "unknown", "panicked" };
    static const struct {
        const char *const *names;
        size_t n;
    } all[] = { [1] = { running, sizeof(running) / sizeof(running[0]) },
                [3] = { paused, sizeof(paused) / sizeof(paused[0]) },
                [4] = { shutdown, sizeof(shutdown) / sizeof(shutdown[0]) },
                [5] = { off, sizeof(off) / sizeof(off[0]) },
                [6] = { crashed, sizeof(crashed) / sizeof(crashed[0]) } };

    if (state < 0 || (size_t)state >= sizeof(all) / sizeof(all[0]) || all[state].names == NULL ||
        reason < 0 || (size_t)reason >= all[state].n) {
        return "unknown";
    }
    return all[state].names[reason];
}
