package squall.runtime;

import java.lang.reflect.Array;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.WildcardType;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.time.temporal.TemporalAccessor;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.UUID;

/** Between plain JSON values and the types of a function: beans by setters (names without regard to case), records, collections. */
final class Bind {
    private Bind() {}

    static Object to(Object value, Type type) {
        if (type == null || type == Object.class) {
            return value;
        }
        if (type instanceof WildcardType) {
            return to(value, ((WildcardType) type).getUpperBounds()[0]);
        }
        if (type instanceof GenericArrayType) {
            return array(value, ((GenericArrayType) type).getGenericComponentType(), Object.class);
        }
        Type[] args = type instanceof ParameterizedType ? ((ParameterizedType) type).getActualTypeArguments() : new Type[0];
        Class<?> raw = type instanceof ParameterizedType ? (Class<?>) ((ParameterizedType) type).getRawType()
            : type instanceof Class ? (Class<?>) type : Object.class;
        if (raw == Object.class) {
            return value;
        }
        if (raw == Optional.class) {
            return Optional.ofNullable(to(value, args.length > 0 ? args[0] : Object.class));
        }
        if (value == null) {
            return raw.isPrimitive() ? Array.get(Array.newInstance(raw, 1), 0) : null;
        }
        Object scalar = scalar(value, raw);
        if (scalar != null) {
            return scalar;
        }
        if (raw.isArray()) {
            return array(value, raw.getComponentType(), raw.getComponentType());
        }
        if (Map.class.isAssignableFrom(raw) && value instanceof Map) {
            return map((Map<?, ?>) value, raw, args);
        }
        if (raw.isAssignableFrom(ArrayList.class) || Collection.class.isAssignableFrom(raw)) {
            return collection(value, raw, args.length > 0 ? args[0] : Object.class);
        }
        if (value instanceof Map) {
            return bean((Map<?, ?>) value, raw);
        }
        throw new IllegalArgumentException("Cannot make " + raw.getName() + " of " + value.getClass().getSimpleName());
    }

    /** A value of a type without parts; null where it is none. */
    private static Object scalar(Object value, Class<?> raw) {
        if (raw == String.class || raw == CharSequence.class) {
            if (value instanceof Map || value instanceof List) {
                throw new IllegalArgumentException("Cannot make java.lang.String of an object or a list");
            }
            return value.toString();
        }
        if (raw == Boolean.class || raw == boolean.class) {
            return value instanceof Boolean ? value : Boolean.valueOf(value.toString());
        }
        if (raw.isPrimitive() && raw != char.class || Number.class.isAssignableFrom(raw)) {
            return number(value, raw);
        }
        if (raw == char.class || raw == Character.class) {
            return value.toString().charAt(0);
        }
        if (raw.isEnum()) {
            for (Object constant : raw.getEnumConstants()) {
                if (((Enum<?>) constant).name().equals(value)) {
                    return constant;
                }
            }
            throw new IllegalArgumentException("`" + value + "` is none of " + raw.getName());
        }
        if (raw == Date.class) {
            return value instanceof Number ? new Date(millis((Number) value)) : Date.from(Instant.parse(value.toString()));
        }
        if (raw == Instant.class) {
            return value instanceof Number ? Instant.ofEpochMilli(millis((Number) value)) : Instant.parse(value.toString());
        }
        if (raw == UUID.class) {
            return UUID.fromString(value.toString());
        }
        if (raw == ByteBuffer.class && value instanceof String) {
            return ByteBuffer.wrap(Base64.getDecoder().decode((String) value));
        }
        if (raw == byte[].class && value instanceof String) {
            return Base64.getDecoder().decode((String) value);
        }
        if (TemporalAccessor.class.isAssignableFrom(raw) || raw.getName().equals("org.joda.time.DateTime")) {
            try {
                boolean isJoda = raw.getName().startsWith("org.joda");
                return isJoda ? raw.getMethod("parse", String.class).invoke(null, value.toString())
                    : raw.getMethod("parse", CharSequence.class).invoke(null, value.toString());
            } catch (ReflectiveOperationException e) {
                throw new IllegalArgumentException("`" + value + "` is no " + raw.getName());
            }
        }
        return null;
    }

    /** Events have seconds, with a fraction, or milliseconds. */
    private static long millis(Number n) {
        double d = n.doubleValue();
        return d < 1e11 ? Math.round(d * 1000) : n.longValue();
    }

    private static Object number(Object value, Class<?> raw) {
        BigDecimal n = new BigDecimal(value.toString().trim());
        if (raw == int.class || raw == Integer.class) return n.intValue();
        if (raw == long.class || raw == Long.class) return n.longValue();
        if (raw == double.class || raw == Double.class) return n.doubleValue();
        if (raw == float.class || raw == Float.class) return n.floatValue();
        if (raw == short.class || raw == Short.class) return n.shortValue();
        if (raw == byte.class || raw == Byte.class) return n.byteValue();
        if (raw == BigInteger.class) return n.toBigInteger();
        return raw == BigDecimal.class || !(value instanceof Number) ? (Object) n : value;
    }

    private static Object array(Object value, Type of, Class<?> component) {
        if (!(value instanceof List)) {
            throw new IllegalArgumentException("a list is wanted");
        }
        List<?> list = (List<?>) value;
        Class<?> raw = of instanceof Class ? (Class<?>) of : component;
        Object array = Array.newInstance(raw, list.size());
        for (int i = 0; i < list.size(); i++) {
            Array.set(array, i, to(list.get(i), of));
        }
        return array;
    }

    @SuppressWarnings("unchecked")
    private static Object map(Map<?, ?> value, Class<?> raw, Type[] args) {
        Map<Object, Object> map = (Map<Object, Object>) made(raw, SortedMap.class.isAssignableFrom(raw) ? new TreeMap<>() : new LinkedHashMap<>());
        for (Map.Entry<?, ?> e : value.entrySet()) {
            map.put(args.length == 2 ? to(e.getKey(), args[0]) : e.getKey(), args.length == 2 ? to(e.getValue(), args[1]) : e.getValue());
        }
        return map;
    }

    @SuppressWarnings("unchecked")
    private static Object collection(Object value, Class<?> raw, Type of) {
        if (!(value instanceof List)) {
            throw new IllegalArgumentException("a list is wanted");
        }
        Collection<Object> all = (Collection<Object>) made(raw, Set.class.isAssignableFrom(raw) ? new LinkedHashSet<>() : new ArrayList<>());
        for (Object e : (List<?>) value) {
            all.add(to(e, of));
        }
        return all;
    }

    /** A new object of a class, or the usual one where the type is an interface. */
    private static Object made(Class<?> raw, Object usual) {
        if (raw.isInstance(usual)) {
            return usual;
        }
        try {
            return raw.getDeclaredConstructor().newInstance();
        } catch (ReflectiveOperationException e) {
            throw new IllegalArgumentException("Cannot make " + raw.getName());
        }
    }

    private static Object bean(Map<?, ?> value, Class<?> raw) {
        Map<String, Object> fields = new LinkedHashMap<>();
        for (Map.Entry<?, ?> e : value.entrySet()) {
            fields.put(key(e.getKey().toString()), e.getValue());
        }
        try {
            if (raw.getSuperclass() != null && raw.getSuperclass().getName().equals("java.lang.Record")) {
                return record(fields, raw);
            }
            Constructor<?> constructor = raw.getDeclaredConstructor();
            constructor.setAccessible(true);
            Object bean = constructor.newInstance();
            for (Method m : raw.getMethods()) {
                boolean is = m.getName().startsWith("set") && m.getName().length() > 3 && m.getParameterCount() == 1 && !Modifier.isStatic(m.getModifiers());
                String name = is ? key(m.getName().substring(3)) : null;
                if (is && fields.containsKey(name) && !m.isBridge()) {
                    m.setAccessible(true);
                    m.invoke(bean, to(fields.get(name), m.getGenericParameterTypes()[0]));
                }
            }
            for (Field f : raw.getFields()) {
                if (!Modifier.isStatic(f.getModifiers()) && !Modifier.isFinal(f.getModifiers()) && fields.containsKey(key(f.getName()))) {
                    f.set(bean, to(fields.get(key(f.getName())), f.getGenericType()));
                }
            }
            return bean;
        } catch (ReflectiveOperationException e) {
            Throwable cause = e.getCause() == null ? e : e.getCause();
            throw new IllegalArgumentException("Cannot make " + raw.getName() + ": " + cause, cause);
        }
    }

    /** Records are newer than the release that this is compiled for: the constructor in the order of the fields is theirs. */
    private static Object record(Map<String, Object> fields, Class<?> raw) throws ReflectiveOperationException {
        List<Field> own = new ArrayList<>();
        for (Field f : raw.getDeclaredFields()) {
            if (!Modifier.isStatic(f.getModifiers())) {
                own.add(f);
            }
        }
        Class<?>[] types = new Class<?>[own.size()];
        Object[] args = new Object[own.size()];
        for (int i = 0; i < types.length; i++) {
            types[i] = own.get(i).getType();
            args[i] = to(fields.get(key(own.get(i).getName())), own.get(i).getGenericType());
        }
        Constructor<?> constructor = raw.getDeclaredConstructor(types);
        constructor.setAccessible(true);
        return constructor.newInstance(args);
    }

    /** Names are the same whatever their case, and with or without `-` and `_`: events have them all ways. */
    private static String key(String name) {
        return name.replace("-", "").replace("_", "").toLowerCase(Locale.ROOT);
    }

    /** What an object of a function's type is written as. */
    static Object plain(Object value) {
        if (value instanceof Optional) return ((Optional<?>) value).orElse(null);
        if (value instanceof Date) return ((Date) value).getTime();
        if (value instanceof TemporalAccessor || value instanceof UUID || value instanceof java.net.URI || value instanceof java.net.URL) return value.toString();
        if (value instanceof byte[]) return Base64.getEncoder().encodeToString((byte[]) value);
        if (value instanceof ByteBuffer) {
            ByteBuffer copy = ((ByteBuffer) value).duplicate();
            byte[] bytes = new byte[copy.remaining()];
            copy.get(bytes);
            return Base64.getEncoder().encodeToString(bytes);
        }
        if (value.getClass().isArray()) {
            List<Object> list = new ArrayList<>();
            for (int i = 0; i < Array.getLength(value); i++) {
                list.add(Array.get(value, i));
            }
            return list;
        }
        return fields(value);
    }

    private static Map<String, Object> fields(Object value) {
        Map<String, Object> map = new LinkedHashMap<>();
        Class<?> raw = value.getClass();
        try {
            boolean isRecord = raw.getSuperclass() != null && raw.getSuperclass().getName().equals("java.lang.Record");
            for (Field f : isRecord ? raw.getDeclaredFields() : new Field[0]) {
                if (!Modifier.isStatic(f.getModifiers())) {
                    Method m = raw.getMethod(f.getName());
                    m.setAccessible(true);
                    map.put(f.getName(), m.invoke(value));
                }
            }
            for (Field f : raw.getFields()) {
                if (!Modifier.isStatic(f.getModifiers())) {
                    map.put(f.getName(), f.get(value));
                }
            }
            // In the order of the fields, as they are declared; then getters without a field.
            Map<String, Object> found = new TreeMap<>();
            for (Method m : raw.getMethods()) {
                String name = isRecord ? null : property(m);
                if (name != null) {
                    m.setAccessible(true);
                    found.put(name, m.invoke(value));
                }
            }
            for (Class<?> c = raw; c != null; c = c.getSuperclass()) {
                for (Field f : c.getDeclaredFields()) {
                    if (found.containsKey(f.getName())) {
                        map.put(f.getName(), found.remove(f.getName()));
                    }
                }
            }
            map.putAll(found);
        } catch (ReflectiveOperationException e) {
            Throwable cause = e.getCause() == null ? e : e.getCause();
            throw new IllegalArgumentException("Cannot write " + raw.getName() + ": " + cause, cause);
        }
        return map;
    }

    /** The name of what a getter gives; null for other methods. */
    private static String property(Method m) {
        String name = m.getName();
        int cut = name.startsWith("get") ? 3 : name.startsWith("is") && m.getReturnType() == boolean.class ? 2 : 0;
        if (cut == 0 || name.length() == cut || m.getParameterCount() > 0 || Modifier.isStatic(m.getModifiers())
            || m.getReturnType() == void.class || m.getDeclaringClass() == Object.class || m.isBridge()) {
            return null;
        }
        String rest = name.substring(cut);
        return rest.substring(0, 1).toLowerCase(Locale.ROOT) + rest.substring(1);
    }
}
