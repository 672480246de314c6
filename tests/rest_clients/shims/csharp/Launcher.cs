// What C# 7.1 makes of an asynchronous Main, which Mono's mcs does not know: `mono Launcher.exe PROGRAM.dll`.
using System.Reflection;
using System.Threading.Tasks;

static class Launcher
{
    static void Main(string[] args)
    {
        var main = Assembly.LoadFrom(args[0]).GetType("Program").GetMethod("Main", BindingFlags.NonPublic | BindingFlags.Static);
        ((Task)main.Invoke(null, new object[] { new string[0] })).GetAwaiter().GetResult();
    }
}
