/* A database calls back: for rows, for functions and for orders that the program adds, and at its end. */
#include "prelude.h"
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

static int row(void *count, int columns, char **values, char **names)
{
    ++*(int *)count;
    for (int at = 0; at < columns; at++)
        printf("%s=%s%c", names[at], values[at] ? values[at] : "NULL", at + 1 < columns ? ' ' : '\n');
    return 0;
}
static void doubled(sqlite3_context *context, int count, sqlite3_value **values)
{
    sqlite3_result_double(context, count * 2.0 * sqlite3_value_double(values[0]));
}
static int backwards(void *unused, int a_size, const void *a, int b_size, const void *b)
{
    (void)unused, (void)a_size, (void)b_size;
    return -strcmp(a, b);
}
static void gone(void *what)
{
    printf("%s gone\n", (const char *)what);
}
static int commits(void *count)
{
    ++*(int *)count;
    return 0;
}

int main(void)
{
    sqlite3 *database;
    int rows = 0, commit = 0;
    char *error = 0;
    printf("%d\n", sqlite3_open(":memory:", &database));
    sqlite3_commit_hook(database, commits, &commit);
    sqlite3_create_function_v2(database, "doubled", 1, SQLITE_UTF8, (void *)"function", doubled, 0, 0, gone);
    sqlite3_create_collation_v2(database, "backwards", SQLITE_UTF8, (void *)"collation", backwards, gone);
    int status = sqlite3_exec(database,
                              "create table t(a text, b real); insert into t values('x', 1.5), ('y', 2.25), ('z', null);"
                              "select a, doubled(b) as d from t order by a collate backwards; select count(*) from t;",
                              row, &rows, &error);
    printf("%d %d %d %s\n", status, rows, commit, error ? error : "fine");
    printf("%d %s\n", sqlite3_exec(database, "select nothing(1)", row, &rows, &error), error);
    sqlite3_free(error);
    printf("%d\n", sqlite3_close(database));
    return SUCCESS;
}
