// A program in C++: static objects, exceptions of its own, thread-local objects, streams, virtual functions.
#include "prelude.h"
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct Named {
    std::string name;
    explicit Named(std::string name) : name(std::move(name))
    {
        std::cout << this->name << " built\n";
    }
    virtual ~Named()
    {
        std::cout << name << " destroyed\n";
    }
    virtual int area() const
    {
        return 0;
    }
};
struct Square : Named {
    int side;
    explicit Square(int side) : Named("square"), side(side)
    {
    }
    int area() const override
    {
        return side * side;
    }
};
struct Fault : std::runtime_error {
    using std::runtime_error::runtime_error;
};

static Named global("global");
static thread_local Named local("thread's");

static int risky(int value)
{
    Named guard("guard");
    if (value > 1)
        throw Fault("too much: " + std::to_string(value));
    if (value > 0)
        throw value;
    return value;
}

int main(int, char **)
{
    static Named inner("inner");
    std::cout << local.name << std::endl;
    for (int value = 0; value < 3; value++) {
        try {
            std::cout << "risky " << risky(value) << "\n";
        } catch (const std::exception &fault) {
            std::cout << "caught " << fault.what() << " " << (dynamic_cast<const Fault *>(&fault) != nullptr) << "\n";
        } catch (int caught) {
            std::cout << "caught " << caught << "\n";
        }
    }
    std::unique_ptr<Named> shape = std::make_unique<Square>(4);
    std::cout << shape->area() << " " << (dynamic_cast<Square *>(shape.get()) ? "square" : "none") << " "
              << typeid(*shape).name() << "\n";
    std::map<std::string, std::vector<int>> numbers{{"one", {3, 1, 2}}, {"two", {9, 8}}};
    for (auto &[name, list] : numbers) {
        std::sort(list.begin(), list.end());
        std::ostringstream text;
        for (int number : list)
            text << number << ",";
        std::cout << name << " " << text.str() << "\n";
    }
    std::exception_ptr carried;
    std::thread([&] {
        try {
            std::cout << local.name << " in thread\n";
            risky(5);
        } catch (...) {
            carried = std::current_exception();
        }
    }).join();
    try {
        std::rethrow_exception(carried);
    } catch (const Fault &fault) {
        std::cout << "carried " << fault.what() << "\n";
    }
    return SUCCESS;
}
