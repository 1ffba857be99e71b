/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blind: blind SOCKET answers libvirt's calls from a table without looking at what they ask: the most that a server
 * could reach with the same clients. One thread, one epoll. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { HEAD = 28, ROOM = 1 << 20 };

struct client {
	int fd;
	size_t len;
	unsigned char in[ROOM];
};

/* What follows the header of a reply: 32-bit words. */
static const struct {
	uint32_t proc, n, words[12];
} answers[] = {
	{ 1, 0, { 0 } },			      /* open */
	{ 2, 0, { 0 } },			      /* close */
	{ 16, 7, { 1, 0, 131072, 0, 131072, 1, 0 } }, /* info, its last half below */
	{ 23, 7, { 1, 0x61000000, 1, 2, 3, 4, 0xffffffff } },
	{ 51, 1, { 0 } },
	{ 60, 1, { 1 } },
	{ 66, 2, { 1, 0 } },
	{ 157, 2, { 0, 9000000 } },
};

static void answer(struct client *c, const unsigned char *m)
{
	unsigned char out[HEAD + 48];
	uint32_t proc, len = HEAD, v;
	size_t i;

	memcpy(&proc, m + 12, 4);
	proc = ntohl(proc);
	memcpy(out, m, HEAD);
	v = htonl(1); /* a reply */
	memcpy(out + 16, &v, 4);
	memset(out + 24, 0, 4);
	for (i = 0; i < sizeof answers / sizeof *answers; i++)
		if (answers[i].proc == proc)
			for (uint32_t k = 0; k < answers[i].n; k++, len += 4) {
				v = htonl(answers[i].words[k]);
				memcpy(out + len, &v, 4);
			}
	if (proc == 16) {
		memset(out + len, 0, 4);
		len += 4;
	}
	v = htonl(len);
	memcpy(out, &v, 4);
	if (write(c->fd, out, len) < 0)
		return;
}

static int serve(struct client *c)
{
	ssize_t n = read(c->fd, c->in + c->len, ROOM - c->len);
	size_t at = 0;
	uint32_t len;

	if (n <= 0)
		return -1;
	c->len += (size_t)n;
	while (c->len - at >= 4) {
		memcpy(&len, c->in + at, 4);
		len = ntohl(len);
		if (len < HEAD || len > ROOM)
			return -1;
		if (c->len - at < len)
			break;
		answer(c, c->in + at);
		at += len;
	}
	memmove(c->in, c->in + at, c->len - at);
	c->len -= at;
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct epoll_event ev = { .events = EPOLLIN }, got[64];
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ep = epoll_create1(0);

	if (argc != 2 || strlen(argv[1]) >= sizeof sa.sun_path)
		return 1;
	strcpy(sa.sun_path, argv[1]);
	unlink(argv[1]);
	if (bind(l, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(l, 64) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, l, &ev) < 0) {
		perror(argv[1]);
		return 1;
	}
	for (;;) {
		int n = epoll_wait(ep, got, 64, -1);

		for (int i = 0; i < n; i++) {
			struct client *c = got[i].data.ptr;

			if (c == NULL) {
				c = calloc(1, sizeof *c);
				c->fd = accept(l, NULL, NULL);
				ev.data.ptr = c;
				epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev);
			} else if (serve(c) < 0) {
				close(c->fd);
				free(c);
			}
		}
	}
}
