/* What libc opens by itself: character sets, name services, locales; and standard input, time, pseudo random numbers. */
#include "prelude.h"
#include <errno.h>
#include <iconv.h>
#include <locale.h>
#include <math.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

int main(void)
{
    printf("locale %s\n", setlocale(LC_ALL, "C.UTF-8") ? "C.UTF-8" : "none");
    printf("wide %d\n", (int)mbstowcs(0, "a\xc3\xa9", 0));
    iconv_t convert = iconv_open("ISO-8859-15", "UTF-8");
    char in[] = "\xe2\x82\xac", out[8] = "", *from = in, *to = out;
    size_t from_left = 3, to_left = 8;
    if (convert != (iconv_t)-1) {
        iconv(convert, &from, &from_left, &to, &to_left);
        printf("euro %x\n", (unsigned char)out[0]);
    }
    struct passwd *user = getpwuid(0);
    printf("user %s\n", user ? user->pw_name : "none");
    struct addrinfo *list = 0, hints = {.ai_flags = AI_NUMERICHOST};
    printf("address %d\n", getaddrinfo("127.0.0.1", "80", &hints, &list));
    errno = 0;
    printf("errno %d", close(-1));
    printf(" %d\n", errno == EBADF);
    setenv("TZ", "XYZ-3", 1);
    tzset();
    printf("zone %ld %s\n", timezone, tzname[0]);
    time_t then = 1000000000;
    char text[40];
    strftime(text, sizeof text, "%F %T %Z", localtime(&then));
    printf("%s %.3f %.3f\n", text, strtod("1.5e3", 0), sqrt(2.0));
    srandom(5);
    printf("input %d\n", getchar());
    return SUCCESS;
}
